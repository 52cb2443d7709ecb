#!/usr/bin/env python3
"""`refusion bench` as a program: wrong options, what it prints, and that a false measurement fails."""
import csv
import io
import json
import math
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "cli"))
from support import ProgramTest, main, run  # noqa: E402

PLANTED = os.environ["RF_PLANTED_DIR"]
SMALL = "qwen3-0.6b,layers=2,hidden=64,heads=4,kv_heads=2,head_dim=32,ffn=96,vocab=333"
QUICK = ["--seconds", "0.01"]


class WrongOptions(ProgramTest):
    def check(self, part, *arguments, status=2):
        self.check_fails(run("bench", *arguments), status, part)

    def test_lists(self):
        for text in ["", "0", "513", "8,", ",8", "8,,16", "8;16", "-1", "8 ", "1e3", "99999999999"]:
            with self.subTest(text):
                self.check(f'--rows: found "{text}", wanted whole numbers from 1 to 512', "--rows", text)
        self.check('--cache: found "x"', "--cache", "x")
        self.check("--rows: found more than 64 numbers", "--rows", ",".join(["1"] * 65))

    def test_numbers(self):
        self.check("--ar", "--ar", "0")
        self.check("--generate", "--generate", "many")
        self.check("--accept-rate", "--generate", "8", "--accept-rate", "1.1")
        self.check("--seconds", "--seconds", "0")

    def test_combinations(self):
        self.check("--accept-rate: found it without --generate", "--ar", "8", "--accept-rate", "0.5")
        self.check("--synthetic: found it beside --model", "--synthetic", SMALL, "--model", ".")
        self.check("--csv: found it beside --json", "--csv", "--json")
        self.check("--tune: found it beside --no-tune", "--tune", "--rows", "1", "--no-tune")
        self.check("--sweep: found it without --rows", "--sweep", "--ar", "2")
        self.check("block", "--generate", "8", "--slot-size", "5", "--block", "8")

    def test_shapes(self):
        self.check('found the shape "qwen3-9b"', "--synthetic", "qwen3-9b")
        self.check('type: found "int3"', "--synthetic", SMALL + ",type=int3")

    def test_context(self):
        self.check("context length", "--synthetic", SMALL + ",context=64")


class Output(ProgramTest):
    def test_json(self):
        text = self.check_works(run("bench", "--json", "--synthetic", SMALL, "--rows", "1,20", "--cache", "0,70",
                                    "--prefill", "30", "--ar", "4", "--generate", "16", "--slot-size", "4", "--block",
                                    "8", "--accept-rate", "0.5", *QUICK))
        out = json.loads(text)
        self.assertGreater(out["ceilings"]["read_gb_per_second"], 0)
        self.assertGreater(out["ceilings"]["f32_tflops"], 0)
        self.assertIn("name", out["device"])
        self.assertEqual(out["model"]["name"], SMALL)
        self.assertEqual([(c["rows"], c["cache"]) for c in out["forward"]], [(1, 0), (20, 0), (1, 70), (20, 70)])
        for cell in out["forward"] + [out["prefill"]]:
            seconds = cell["ms"] / 1e3
            self.assertAlmostEqual(cell["tokens_per_second"] * seconds / cell["rows"], 1, 5)
            self.assertAlmostEqual(cell["gb_per_second"] * seconds * 1e9 / cell["bytes"], 1, 5)
            self.assertAlmostEqual(cell["tflops"] * seconds * 1e12 / cell["flops"], 1, 5)
            self.assertAlmostEqual(cell["percent_of_floor"] / (100 * cell["floor_ms"] / cell["ms"]), 1, 5)
            self.assertLessEqual(cell["percent_of_floor"], 100)
            self.assertRegex(cell["path"], r"^(portable|fp16|int8) \w+ \d+$")
        self.assertEqual(out["ar"]["tokens"], 4)
        self.assertGreater(out["ar"]["tokens_per_second"], 0)
        self.assertEqual(out["refusion"]["tokens"], 16)
        self.assertGreater(out["refusion"]["tokens_per_second"], 0)
        self.assertAlmostEqual(out["refusion"]["tokens_per_forward"], 16 / out["refusion"]["forwards"])
        self.assertEqual(out["refusion"]["accept_rate"], 0.5)

    def test_only_what_is_asked_for(self):
        out = json.loads(self.check_works(run("bench", "--json", "--ar", "3", *QUICK)))
        self.assertEqual(out["forward"], [])
        self.assertIsNone(out["refusion"])
        self.assertIsNone(out["prefill"])
        self.assertEqual(out["ar"]["tokens"], 3)

    def test_csv(self):
        text = self.check_works(run("bench", "--csv", "--synthetic", SMALL, "--rows", "3", "--cache", "5", "--ar", "2",
                                    *QUICK))
        lines = list(csv.DictReader(io.StringIO(text)))
        self.assertEqual([line["kind"] for line in lines], ["forward", "ar"])
        self.assertEqual((lines[0]["rows"], lines[0]["cache"]), ("3", "5"))
        self.assertGreater(float(lines[0]["percent_of_floor"]), 0)
        self.assertNotIn(None, lines[0])

    def test_sweep(self):
        """The bar is 3%, on a quiet machine. Beside other tests a stall can decide, hence up to three tries, each with
        a cache of its own, of which one must come within half: kinds of kernels are six times apart."""
        best = math.inf
        for _ in range(3):
            with tempfile.TemporaryDirectory() as cache:
                text = self.check_works(run("bench", "--json", "--sweep", "--synthetic",
                                            "qwen3-0.6b,layers=2,hidden=512,heads=8,kv_heads=4,vocab=64,type=q8_0",
                                            "--rows", "8", "--cache", "0", *QUICK, env={"XDG_CACHE_HOME": cache}))
            sweep, = json.loads(text)["sweep"]
            self.assertEqual((sweep["format"], sweep["rows"], sweep["k"], sweep["columns"]), ("q8_0", 8, 512, 2048))
            self.assertGreater(sweep["shapes"], 30)
            print(f"sweep: taken {sweep['chosen']}, fastest {sweep['fastest']}, {sweep['percent_slower']:.1f}% slower")
            best = min(best, sweep["percent_slower"])
            if best < 50:
                break
        self.assertLess(best, 50)

    def test_table(self):
        text = self.check_works(run("bench", "--synthetic", SMALL, "--rows", "2", "--cache", "9", *QUICK))
        self.assertRegex(text, r"(?m)^forward +2 +9 ")
        self.assertIn("ceilings\n", text)


class FalseMeasurements(ProgramTest):
    def check_failure(self, part, *arguments):
        result = run("bench", *arguments, *QUICK)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn(part, result.stderr)

    def test_too_low_a_ceiling(self):
        self.check_failure("a ceiling is measured too low", "--rows", "64", "--cache", "0", "--disable",
                           "fp16", "--shader-dir",
                           os.path.join(PLANTED, "low_ceiling"))

    def test_what_was_measured_before_a_failure_is_printed(self):
        result = run("bench", "--json", "--rows", "5", "--cache", "0", "--precision", "f16", "--shader-dir",
                     os.path.join(PLANTED, "wrong_norm"), *QUICK)
        self.assertEqual(result.returncode, 1, result.stderr)
        out = json.loads(result.stdout)
        self.assertIn("wrong results", out["failure"])
        self.assertGreater(out["ceilings"]["read_gb_per_second"], 0)
        self.assertEqual(out["forward"], [])

    def test_wrong_results(self):
        self.check_failure("wrong results", "--rows", "5", "--cache", "0", "--precision", "f16", "--shader-dir",
                           os.path.join(PLANTED, "wrong_norm"))


if __name__ == "__main__":
    main()
