#!/usr/bin/env python3
"""profile --counters, and the pipelines of --json and --html: test_counters.py FOLDER [TEST...]

FOLDER holds a Vulkan layer (counters_layer.c) that gives the driver invented counters and pipeline statistics, and that ends the
process with status 99 when a rule of VK_KHR_performance_query is broken. What a real driver lists is asked of RADV, for a chip
that is not there.
"""
import csv
import glob
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from support import DRIVER, ROOT, ProgramTest, clean_environment, command_line, main, run

sys.path.append(os.path.join(ROOT, "tests", "profile"))
import make_sample  # pylint: disable=wrong-import-position

LAYERS = os.path.abspath(sys.argv.pop(1))
LAYER = "VK_LAYER_REFUSION_test_counters"
RADV = glob.glob("/usr/share/vulkan/icd.d/radeon_icd*.json")
ROUNDS = ["-p", "hi", "-n", "8", "--slot-size", "4", "--block", "4", "--slot-threshold", "0.3", "--token-threshold", "0.98"]
QUICK = ["--no-ceilings", "--no-tune", "--quiet", "--runs", "2"]
# As the layer has them: name, category, unit, storage, scope.
COUNTERS = [("Dispatches", "Commands", "generic", "uint64", "command"), ("Copies", "Commands", "generic", "int32", "command"),
            ("Place", "Commands", "cycles", "uint32", "command"), ("Shader busy", "Invented", "percentage", "float32", "command"),
            ("Bytes", "Invented", "bytes", "float64", "command"), ("Below zero", "Invented", "generic", "int64", "render pass"),
            ("Whole buffer", "Invented", "generic", "uint64", "command buffer"),
            ("Wide A", "Invented", "generic", "uint64", "command"), ("Wide B", "Invented", "generic", "uint64", "command"),
            ("Twice", "First", "generic", "uint64", "command"), ("Twice", "Second", "generic", "uint64", "command")]
once = unittest.skipUnless(DRIVER == "lavapipe-new", "on one driver")


def profile(*arguments, layers=LAYER, env=None, command="profile", **keywords):
    return run(command, *arguments, env={"RF_LAYERS": LAYERS, "VK_INSTANCE_LAYERS": layers, **(env or {})}, **keywords)


class Listed(ProgramTest):
    def test_json(self):
        found = json.loads(self.check_works(profile("--counters", "--json")))
        self.assertEqual([tuple(c[k] for k in ("name", "category", "unit", "storage", "scope")) for c in found["counters"]],
                         COUNTERS)
        self.assertEqual([c["number"] for c in found["counters"]], list(range(len(COUNTERS))))
        self.assertEqual([c["name"] for c in found["counters"] if c["slows_down"]], ["Shader busy"])
        self.assertEqual([c["name"] for c in found["counters"] if c["sees_others"]], ["Bytes"])
        self.assertEqual(found["counters"][0]["description"], "dispatches in the query")
        self.assertEqual(found["queue_family"], 0)

    def test_table(self):
        lines = self.check_works(profile("--counters")).splitlines()
        self.assertTrue(lines[0].endswith(": 11 counters of queue family 0"), lines[0])
        self.assertEqual(lines[2].split(), ["number", "name", "category", "unit", "storage", "scope", "description"])
        self.assertEqual(len(lines), 3 + len(COUNTERS))
        for number, (line, counter) in enumerate(zip(lines[3:], COUNTERS)):
            self.assertEqual(re.split(r"\s{2,}", line.strip())[:6], [str(number), *counter])
        self.assertIn("always 37.5 (slows down what it counts)", lines[6])

    def test_a_device_without_counters(self):
        for arguments in (["--counters"], ["--counters", "Waves", "-p", "hi"], ["--counters=Waves", "-p", "hi"]):
            self.check_fails(run("profile", *arguments), 1, "offers no hardware counters (VK_KHR_performance_query)")
        self.check_fails(profile("--counters", "--disable", "performanceQuery"), 1, "offers no hardware counters")

    def test_what_radv_lists(self):
        if not RADV:
            self.skipTest("RADV is not installed")
        plain = {"VK_DRIVER_FILES": "", "VK_ICD_FILENAMES": ""}
        result = run("profile", "--counters", "--amd", "navi21", "--json", driver=None, env=plain)
        found = json.loads(self.check_works(result))
        self.assertIn("NAVI21", found["device"]["name"])
        waves, = [c for c in found["counters"] if c["name"] == "Waves"]
        self.assertEqual((waves["unit"], waves["scope"]), ("generic", "command"))
        self.check_fails(run("profile", "--counters", "--amd", "vega10", driver=None, env=plain), 1,
                         "offers no hardware counters")

    def test_beside_other_options(self):
        for other in (["--csv"], ["--html", "x"], ["--runs", "2"], ["--prompt", "x"], ["--model", "x"], ["--no-ceilings"]):
            self.check_fails(profile(*other, "--counters"), 2, f"--counters without a name: found it beside {other[0]}")
        self.check_fails(profile("--static", "--counters", "Copies"), 2, "--static: found it beside --counters")
        self.check_fails(profile("--counters", "--static"), 2, "--counters: found it beside --static")
        self.check_fails(profile("--compare", "x", "--counters", "Copies"), 2, "--compare: found it beside --counters")


class Counted(ProgramTest):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            page = os.path.join(folder, "page.html")
            result = profile("--json", "--html", page, "--counters", "dispatches, Copies,Place,Shader busy,Bytes,Below zero,10",
                             *QUICK, *ROUNDS)
            if result.returncode != 0 or result.stderr:
                raise AssertionError(result.stderr)
            cls.json = json.loads(result.stdout)
            with open(page, encoding="utf-8") as file:
                cls.page = file.read()

    def test_runs(self):
        modes = [r["mode"] for r in self.json["runs"]]
        self.assertEqual({mode: modes.count(mode) for mode in modes}, {"off": 2, "free": 2, "serial": 2, "counters": 2})
        self.assertEqual(len({r["tokens"] for r in self.json["runs"]}), 1)
        self.assertEqual(self.json["counters"]["runs"], 2)

    def test_every_dispatch_has_a_query_of_its_own(self):
        counters = self.json["counters"]
        self.assertEqual([c["name"] for c in counters["list"]],
                         ["Dispatches", "Copies", "Place", "Shader busy", "Bytes", "Below zero", "Twice"])
        self.assertEqual(counters["list"][-1]["category"], "Second")
        names = {(s["op"], s["shader"], s["phase"]): s["calls"] for s in self.json["shaders"]}
        self.assertEqual({(s["op"], s["shader"], s["phase"]): s["calls"] for s in counters["shaders"]}, names)
        layers = self.json["model"]["layers"]
        for s in counters["shaders"]:
            dispatches, copies, place, busy, large, below, twice = s["values"]
            copied = s["shader"] == "copy"
            self.assertEqual((dispatches, copies), (0, 1) if copied else (1, 0), s)
            self.assertEqual((large, below, twice), (2.0 ** 40 + 0.5, -2.0 ** 40, 8), s)
            self.assertAlmostEqual(busy, 37.5, places=9)
            self.assertGreater(s["mean"], 0)
            # In the order of the forward, nine dispatches a layer.
            if s["op"] in ("rows gather", "embed"):
                self.assertEqual(place, 1, s)
            elif s["op"] == "input norm":
                self.assertAlmostEqual(place, 2 + 9 * (layers - 1) / 2, places=9)
            elif s["op"] == "qkv":
                self.assertGreaterEqual(place, 3 + 9 * (layers - 1) / 2 - 1e-9)

    def test_pipelines(self):
        pipelines = self.json["pipelines"]
        self.assertLessEqual({s["shader"] for s in self.json["shaders"]} - {"copy"}, {p["shader"] for p in pipelines})
        self.assertLessEqual({op for p in pipelines for op in p["ops"]}, {s["op"] for s in self.json["shaders"]})
        for p in pipelines:
            self.assertEqual([(s["name"], s["value"]) for s in p["statistics"]], [("Register Count", 41), ("Spill Count", 0)])
            self.assertTrue(all(b <= 64 for b in p["row_buckets"]), p)

    def test_the_page_has_them(self):
        """And the page's tests draw what the program writes."""
        held = json.loads(re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', self.page, re.S).group(1))
        sample = make_sample.profile(2, 2, awkward=True)
        self.assertEqual(held["pipelines"], self.json["pipelines"])
        self.assertEqual(held["counters"], self.json["counters"])
        self.assertEqual(set(held["pipelines"][0]), set(sample["pipelines"][0]) | {"uses"})
        self.assertEqual(set(held["pipelines"][0]["statistics"][0]), set(sample["pipelines"][1]["statistics"][0]) | {"description"})
        self.assertEqual(set(held["counters"]), set(sample["counters"]))
        self.assertEqual(set(held["counters"]["shaders"][0]), set(sample["counters"]["shaders"][0]))

    @once
    def test_pipelines_of_other_runs_come_from_their_cache(self):
        """What they are compiled for once more leaves the cache's file alone."""
        with tempfile.TemporaryDirectory() as cache:
            def ask(*more):
                self.check_works(profile("--json", *QUICK, *ROUNDS, *more, env={"XDG_CACHE_HOME": cache}))
                found = {}
                for path in glob.glob(os.path.join(cache, "refusion", "*")):
                    with open(path, "rb") as file:
                        found[path] = file.read()
                return found
            without = ask("--disable", "pipelineProperties")
            self.assertTrue(without)
            self.assertEqual(ask(), without)

    @once
    def test_table_and_csv(self):
        text = self.check_works(profile("--counters", "Place,Dispatches", *QUICK, *ROUNDS))
        self.assertRegex(text, r"(?m)^counters, mean of a call +calls +mean us Place \[cycles\] +Dispatches$")
        self.assertRegex(text, r"(?m)^embed +embed_bf16 +prefill +1 +[\d.]+ +1 +1$")
        text = self.check_works(profile("--csv", "--counters", "Copies,0", *QUICK, *ROUNDS))
        lines = list(csv.DictReader(io.StringIO(text)))
        self.assertTrue(lines)
        for line in lines:
            self.assertNotIn(None, line)
            copied = line["shader"] == "copy"
            self.assertEqual((line["Copies"], line["Dispatches"]), ("1", "0") if copied else ("0", "1"))

    @once
    def test_nothing_is_asked_of_the_device_without_the_option(self):
        """The layer would tell of a lock or a pool."""
        self.check_works(profile("-p", "hi", "-n", "4", "--quiet", "--no-tune", command="generate"))

    @once
    def test_the_validation_layer_has_nothing_to_say(self):
        result = profile("--counters", "Dispatches,Copies", *QUICK, *ROUNDS, layers="VK_LAYER_KHRONOS_validation:" + LAYER)
        self.assertNotIn("VUID", self.check_works(result) + result.stderr)


class Refused(ProgramTest):
    def test_names(self):
        for names, status, *parts in (("Whole", 2, 'found "Whole"', "one of the 11 names"), ("11", 2, 'found "11"'),
                                      ("Copies,,Place", 2, "wanted names with commas"), (",", 2, "wanted names"),
                                      ("Copies,copies", 2, 'found "Copies" twice'), ("Copies,1", 2, "twice"),
                                      ("Twice", 2, "numbers 9 (First) and 10 (Second)"), ("x" * 300, 2, "wanted names"),
                                      ("Whole buffer", 1, "whole command buffers only"),
                                      ("Wide A,Wide B,Copies", 1, "would need 2 passes for these 3", "one pass")):
            with self.subTest(names[:20]):
                self.check_fails(profile("--counters", names, *QUICK, "-p", "hi"), status, "counters: ", *parts)
        self.check_fails(profile("--counters", "Copies", "--disable", "timestamps", *QUICK, "-p", "hi"), 1,
                         "--counters: device ", "no timestamps")

    @once
    def test_the_lock_is_another_programs(self):
        self.check_fails(profile("--counters", "Copies", *QUICK, "-p", "hi", env={"COUNTERS_LAYER_BUSY": "1"}), 1,
                         "did not grant its profiling lock within 1 s")

    @once
    def test_an_interrupted_run_gives_the_lock_back(self):
        """Ctrl-C comes when the lock is taken; the layer would tell of a device that is destroyed with it."""
        result = profile("--counters", "Copies", *QUICK, *ROUNDS, env={"COUNTERS_LAYER_INTERRUPT": "1"})
        self.check_fails(result, 130, "interrupted")

    @once
    def test_the_layer_is_strict(self):
        """It would see a device that is made with counters and never reads them as well as any other fault: a broken rule
        is status 99, which nothing else here is."""
        self.assertEqual(profile("--counters", "Copies", *QUICK, "-p", "hi", env={"COUNTERS_LAYER_FAULT": "1"}).returncode, 99)


class Interrupted(ProgramTest):
    @once
    def test_static_stops_between_pipelines(self):
        if not RADV:
            self.skipTest("RADV is not installed")
        env = clean_environment({"VK_DRIVER_FILES": "", "VK_ICD_FILENAMES": "", "MESA_SHADER_CACHE_DISABLE": "true",
                                 "MESA_GLSL_CACHE_DISABLE": "true"})
        arguments = ["profile", "--static", "--amd", "navi21", "--synthetic", "qwen3-8b,type=q4_k"]
        begin = time.monotonic()
        subprocess.run(command_line(arguments, None), env=env, check=True, stdout=subprocess.DEVNULL)
        whole = time.monotonic() - begin
        outcomes = set()
        for part in (0.4, 0.5, 0.6, 0.7):
            with subprocess.Popen(command_line(arguments, None), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True) as process:
                time.sleep(part * whole)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=60)
            outcomes.add((process.returncode, out, err))
        self.assertIn((130, "", "refusion: interrupted while shaders were compiled\n"), outcomes)


if __name__ == "__main__":
    main()
