#!/usr/bin/env python3
"""`refusion profile --compare` on written files, and wrong options of `refusion profile`: nothing here needs a device."""
import copy
import json
import math
import os
import re
import statistics
import tempfile

from support import ProgramTest, main, run

KERNELS = [("gate/up", "matmul", "verify", 0.5), ("down", "matmul", "verify", 0.2), ("qkv", "matmul", "plan", 0.1),
           ("attention", "attention", "plan", 0.1), ("qkv", "matmul", "verify", 0.06), ("embed", "embed", "plan", 0.036),
           ("slot_select", "slot_select", "plan", 0.004)]  # the last is below the share that counts
COUNTED = 6


def made(error=0.005, runs=30):
    """As `profile --json` writes it, of one second of kernels that are known to the error."""
    return {"format": "refusion-profile", "version": 1, "device": {"name": "a device", "driver": "1.0"},
            "model": {"name": "tiny", "precision": "fp16"},
            "shaders": [{"op": op, "shader": shader, "phase": phase, "calls": 10, "share": share, "total": share,
                         "run_totals": [share] * runs, "settled": share, "settled_error": error} for op, shader, phase, share in KERNELS]}


def slowed(profile, factor, *indices):
    new = copy.deepcopy(profile)
    for i in indices or range(len(KERNELS)):
        new["shaders"][i]["settled"] *= factor
    return new


class FileTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, value):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(value if isinstance(value, str) else json.dumps(value))
        return path

    def compare(self, old, new, *options):
        return run("profile", "--compare", self.write("old.json", old), self.write("new.json", new), *options)


class Compare(FileTest):
    def check_verdict(self, result, slower, faster=0):
        self.assertEqual(result.returncode, 1 if slower else 0, result.stdout + result.stderr)
        self.assertIn(f": {slower} slower, {faster} faster\n", result.stdout)
        lines = result.stdout.splitlines()
        self.assertEqual(len([line for line in lines if line.startswith("slower ")]), slower)
        self.assertEqual(len([line for line in lines if line.startswith("faster ")]), faster)

    def test_unchanged(self):
        result = self.compare(made(), made())
        self.check_verdict(result, 0)
        self.assertEqual(result.stderr, "")
        self.assertIn(f"{COUNTED} kernels of 30 and 30 runs compared, limit 10.0 %", result.stdout)
        self.assertNotIn("asked for", result.stdout)
        self.assertEqual(self.told_from(result), [10] * COUNTED)

    def told_from(self, result):
        """The least change that would have been told, in percent, by kernel."""
        return [float(line.split()[-1].rstrip("%")) for line in result.stdout.splitlines()
                if re.match("(same|slower|faster|unsure) ", line)]

    def test_one_kernel_is_slower(self):
        """Whichever of those that count; the others' median does not move with it."""
        for i in range(COUNTED):
            for options in ((), ("--absolute",)):
                with self.subTest(i, options=options):
                    result = self.compare(made(), slowed(made(), 1.2, i), *options)
                    self.check_verdict(result, 1)
                    line, = [text for text in result.stdout.splitlines() if text.startswith("slower ")]
                    self.assertRegex(line, rf"^slower +{KERNELS[i][0]} +{KERNELS[i][1]} +{KERNELS[i][2]} ")
                    self.assertIn("+20.0%", line)

    def test_one_kernel_is_faster(self):
        self.check_verdict(self.compare(made(), slowed(made(), 1 / 1.2, 1)), 0, 1)

    def test_what_hardly_counts_is_left_out(self):
        self.check_verdict(self.compare(made(), slowed(made(), 3, COUNTED)), 0)

    def test_little_of_the_whole_time(self):
        """A kernel below 2 % of the time has to change by 35 % and by 0.6 % of the whole; the line says so."""
        old = made()
        old["shaders"][COUNTED - 1].update(share=0.015, settled=0.015)
        result = self.compare(old, slowed(old, 1.3, COUNTED - 1))
        self.check_verdict(result, 0)
        self.assertAlmostEqual(self.told_from(result)[-1], 40, delta=2)
        self.check_verdict(self.compare(old, slowed(old, 1.45, COUNTED - 1)), 1)
        old["shaders"][COUNTED - 1].update(share=0.019, settled=0.019)
        self.assertEqual(self.told_from(self.compare(old, old))[-1], 35)

    def test_long_dispatches_suffer_more(self):
        """What grows with a dispatch's length is the machine's, unless a kernel stands out of it; with few kernels nobody
        can know."""
        old = made()
        old["shaders"] = [{**old["shaders"][0], "op": f"op {i}", "share": 0.05, "settled": 0.05, "calls": 2 ** i}
                          for i in range(12)]
        new = copy.deepcopy(old)
        for i, entry in enumerate(new["shaders"]):
            entry["settled"] *= 0.96 ** i
        self.check_verdict(self.compare(old, new), 0)
        self.assertEqual(self.compare(old, new, "--absolute").returncode, 0) # faster, most of them
        for i in range(1, 11): # the longest and the shortest have none beside them
            self.check_verdict(self.compare(old, slowed(new, 1.2, i)), 1)

    def test_what_is_not_known_well(self):
        """Three standard errors of both files, and more with few runs: each kernel's line says what it takes."""
        old = made()
        old["shaders"][0]["settled_error"] = old["shaders"][2]["settled_error"] = 0.06
        result = self.compare(old, slowed(old, 1.2, 0))
        self.check_verdict(result, 0)
        self.assertAlmostEqual(self.told_from(result)[0], 100 * (math.exp(3 * 0.06 * math.sqrt(2)) - 1), delta=10)
        self.assertEqual(self.told_from(result)[1], 10)
        self.assertIn("limit of 10.0 % asked for: more --runs", result.stdout)
        self.check_verdict(self.compare(old, slowed(old, 1.5, 0)), 1)
        few = made(0.02, 2) # known to less than it seems
        self.check_verdict(self.compare(few, slowed(few, 1.2, 0)), 0)
        many = made(0.02, 40)
        self.check_verdict(self.compare(many, slowed(many, 1.2, 0)), 1)

    def test_everything_is_slower(self):
        slow = slowed(made(), 1.4)
        result = self.compare(made(), slow)
        self.check_verdict(result, 0)
        self.assertIn("all kernels alike: +40.0 %", result.stdout)
        result = self.compare(made(), slow, "--absolute")
        self.check_verdict(result, COUNTED)
        self.assertNotIn("all kernels alike", result.stdout)
        self.check_verdict(self.compare(made(), slowed(slow, 1.2, 0)), 1)  # and one of them more than the others

    def test_limit(self):
        slow = slowed(made(), 1.2, 0)
        self.check_verdict(self.compare(made(), slow, "--limit", "25"), 0)
        self.check_verdict(self.compare(made(), slow, "--limit", "15"), 1)
        self.check_verdict(self.compare(made(), slowed(made(), 1.05, 0), "--limit", "2"), 1)

    def test_unquiet_machine(self):
        """Where kernels are known no better than to 3 %, nothing is judged, and that is told of the file it is true of."""
        good, bad = made(), made(0.035)
        for old, new, name in ((good, bad, "new.json"), (bad, good, "old.json")):
            result = self.compare(old, slowed(new, 2, 0))
            self.assertEqual(result.returncode, 0)
            self.assertIn(" 0 slower, 0 faster, 1 unsure\n", result.stdout)
            self.assertRegex(result.stdout, r"(?m)^unsure +gate/up ")
            self.assertRegex(result.stderr, rf"^refusion: warning: --compare: \S+{name}: kernels are known to 3\.5 %.*\n$")

    def test_what_all_kernels_do_raises_the_limit(self):
        """24 ops whose ratios have a standard deviation of 10 %: none of them is slower then, nor is one with 20 % more,
        and twice as long is something."""
        old = made()
        old["shaders"] = [{**old["shaders"][0], "op": f"op {i}", "share": 1 / 24, "settled": 1 / 24,
                           "settled_error": 0.001} for i in range(24)]
        unlike = old
        for i, ratio in enumerate(statistics.NormalDist(0, 0.1).inv_cdf((i + 0.5) / 24) for i in range(24)):
            unlike = slowed(unlike, math.exp(ratio), i)
        result = self.compare(old, unlike)
        self.check_verdict(result, 0)
        for told in self.told_from(result):
            self.assertAlmostEqual(told, 100 * (math.exp(3 * 0.1) - 1), delta=5)
        self.assertIn("limit of 10.0 % asked for: more --runs", result.stdout)
        self.assertNotIn("asked for", self.compare(old, old).stdout)
        self.check_verdict(self.compare(old, slowed(unlike, 1.2, 12)), 0)
        self.check_verdict(self.compare(old, slowed(unlike, 2, 12)), 1)

    def test_an_op_in_all_its_phases(self):
        """What happens to it in one phase is no measure of what happens to it in another."""
        qkv = [i for i, kernel in enumerate(KERNELS) if kernel[0] == "qkv"]
        self.check_verdict(self.compare(made(), slowed(made(), 1.2, *qkv)), len(qkv))

    def test_calls_may_differ(self):
        """A kernel's figure is its time a call."""
        new = slowed(made(), 2, 0)
        new["shaders"][0]["calls"] = 20
        self.check_verdict(self.compare(made(), new), 0)

    def test_kernels_come_and_go(self):
        new = made()
        new["shaders"][0]["shader"] = "matmul_wide"
        result = self.compare(made(), new)
        self.check_verdict(result, 0)
        self.assertRegex(result.stdout, r"(?m)^gone +gate/up +matmul +verify ")
        self.assertRegex(result.stdout, r"(?m)^new +gate/up +matmul_wide +verify ")

    def test_other_devices_are_told(self):
        new = made()
        new["device"]["driver"] = "2.0"
        result = self.compare(made(), new)
        self.check_verdict(result, 0)
        self.assertRegex(result.stderr, r'^refusion: warning: --compare: device driver: .*"1.0".*"2.0"\n$')


class WrongFiles(FileTest):
    def check_refused(self, value, *parts):
        """As either file; the line names the file."""
        good = self.write("good.json", made())
        bad = self.write("bad.json", value)
        for pair in ((bad, good), (good, bad)):
            self.check_fails(run("profile", "--compare", *pair), 1, "--compare: ", bad, *parts)

    def test_missing(self):
        good, missing = self.write("good.json", made()), os.path.join(self.folder, "none.json")
        self.check_fails(run("profile", "--compare", missing, good), 1, f"--compare: {missing}: No such file")
        self.check_fails(run("profile", "--compare", good, missing), 1, f"--compare: {missing}: No such file")
        self.check_fails(run("profile", "--compare", good, self.folder), 1, self.folder)

    def test_one_file_only(self):
        self.check_fails(run("profile", "--compare", self.write("good.json", made())), 2, "--compare: found one file")

    def test_no_json(self):
        for text in ("", "hello", "{", json.dumps(made())[:200]):
            with self.subTest(text):
                self.check_refused(text, "found no JSON")

    def test_other_format(self):
        for value in ({}, [], "1", {"format": "refusion-bench"}, {"format": 1}, {**made(), "format": "profile"}):
            with self.subTest(value):
                self.check_refused(value, '"format"')

    def test_other_version(self):
        self.check_refused({**made(), "version": 2}, "found version 2, wanted 1")
        self.check_refused({**made(), "version": "1"}, '"version"')

    def test_damaged_fields(self):
        for shaders in (None, [], {}, "none"):
            with self.subTest(shaders):
                self.check_refused({**made(), "shaders": shaders}, '"shaders"')
        for key, values in {"op": (None, 3), "shader": (None, []), "phase": (None, True),
                            "calls": (None, 0, -1, "10"), "share": (None, "all"),
                            "run_totals": (None, 1, [], [0.1]), "settled": (None, -0.1, "0.1", [0.1]),
                            "settled_error": (None, -0.1, "0.1", [0.1])}.items():
            for value in values:
                with self.subTest(key, value=value):
                    damaged = made()
                    damaged["shaders"][3][key] = value
                    named = {"share": "calls"}.get(key, key)
                    self.check_refused(damaged, f'"{named}"')
        incomplete = made()
        incomplete["shaders"][0] = 7
        self.check_refused(incomplete, '"op"')


class WrongOptions(FileTest):
    def check(self, part, *arguments):
        self.check_fails(run("profile", *arguments), 2, part)

    def test_arguments(self):
        self.check('found the argument "README.md"', "README.md")
        self.check("--runs", "--runs", "0")
        self.check("--limit", "--compare", "a", "b", "--limit", "-1")

    def test_combinations(self):
        self.check("--prompt-tokens: found it without --synthetic", "--prompt-tokens", "5", "-p", "hi")
        self.check("--json: found it beside --csv", "--json", "--csv")
        self.check("--synthetic: found it beside --model", "--synthetic", "qwen3-0.6b", "--model", ".")
        self.check("--synthetic: found it beside --prompt", "--synthetic", "qwen3-0.6b", "-p", "hi")
        self.check("--tokens: found it beside --prompt-tokens", "--synthetic", "qwen3-0.6b", "--tokens", "1",
                   "--prompt-tokens", "5")

    def test_options_of_a_comparison(self):
        """Nothing is ignored: what a comparison takes is refused without one, and the other way round."""
        self.check("--limit: found it without --compare", "--limit", "5")
        self.check("--absolute: found it without --compare", "--absolute")
        good = self.write("good.json", made())
        for option in ("--json", "--csv"):
            self.check(f"--compare: found it beside {option}", "--compare", good, good, option)
        self.check("--compare: found it beside --timeline", "--compare", good, good, "--timeline",
                   os.path.join(self.folder, "timeline.json"))


if __name__ == "__main__":
    main()
