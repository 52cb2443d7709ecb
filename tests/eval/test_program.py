#!/usr/bin/env python3
"""`refusion eval` as a program, with the tiny model: one process, shards, mpirun, kills, sweeps, and what is refused."""
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "cli"))
from support import ANSWER, DRIVER, QUESTION, ROOT, ProgramTest, clean_environment, command_line, main, run  # noqa: E402

LAUNCHERS = ("OMPI_", "PMIX_", "SLURM_", "RANK", "WORLD_SIZE")
EVEN = "Write a Python function is_even(x) that tells if a number is even."
# Right and wrong ones; the tiny model answers the first two questions well.
TASKS = [
    {"task": "code", "query": QUESTION, "reference": ANSWER, "check": "exact"},
    {"task": "code", "query": QUESTION, "reference": "return x % 2 == 0", "check": "regex"},
    {"task": "code", "query": EVEN, "reference": r"def is_even\(\w+\):\n", "check": "regex"},
    {"task": "sums", "id": "many", "query": "Tom has 12 apples. Tom buys 3 bags with 4 apples each. How many apples?",
     "reference": "1000", "check": "number"},
    {"task": "sums", "query": QUESTION, "reference": "7", "check": "number"},
]
QUICK = ["--max-tokens", "32", "--no-tune"]
EMBEDDED = os.path.join(ROOT, "models", "tiny")


def launcher_environment():
    environment = {name: value for name, value in clean_environment().items() if not name.startswith(LAUNCHERS)}
    return {**environment, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def without_times(lines):
    """Records without what no two runs have in common."""
    records = [json.loads(line) for line in lines]
    for record in records:
        record.pop("seconds"), record.pop("latency")
    return records


@functools.cache
def alone():
    """What one process keeps of all tasks; a list, for all tests the same."""
    with tempfile.TemporaryDirectory() as folder:
        tasks, out = os.path.join(folder, "tasks.jsonl"), os.path.join(folder, "alone.jsonl")
        with open(tasks, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(task) + "\n" for task in TASKS)
        result = run("eval", tasks, *QUICK, "--quiet", "--out", out)
        if result.returncode:
            raise AssertionError(result.stderr)
        with open(out, encoding="utf-8") as file:
            return without_times(file.read().splitlines()[1:])


class EvalTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.tasks = self.write("tasks.jsonl", "".join(json.dumps(task) + "\n" for task in TASKS))

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def lines(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read().splitlines()

    def eval(self, *arguments, env=None):
        return run("eval", *arguments, env=env)

    def records(self, name):
        header, *records = self.lines(name)
        self.assertEqual(json.loads(header)["format"], "refusion-eval")
        return without_times(records)


class OneProcess(EvalTest):
    def test_answers(self):
        """What is kept of each, both tables, both pictures; a second run finds all of it."""
        arguments = [self.tasks, *QUICK, "--out", self.path("r.jsonl")]
        out = json.loads(self.check_works(self.eval(*arguments, "--json", "--markdown", self.path("r.md"), "--svg",
                                                    self.path("r.svg"))))
        self.assertEqual([task["name"] for task in out["tasks"]], ["code", "sums"])
        self.assertEqual(out["overall"]["n"], 5)
        for task in [out["overall"], *out["tasks"]]:
            for decode in ("refusion", "ar"):
                figures = task[decode]
                self.assertEqual(figures["accuracy"], figures["right"] / task["n"])
                self.assertLessEqual(figures["accuracy_interval"][0], figures["accuracy"])
                self.assertGreater(figures["tokens_per_second"], 0)
                self.assertGreater(figures["mean_length"], 0)
                self.assertLessEqual(figures["latency"]["p50"], figures["latency"]["p95"])
        code = out["tasks"][0]
        self.assertGreaterEqual(code["refusion"]["right"], 2)
        self.assertGreaterEqual(code["ar"]["right"], 2)
        self.assertAlmostEqual(code["ar"]["tokens_per_forward"], 1, delta=0.01)
        self.assertGreater(code["refusion"]["tokens_per_forward"], 1.5)
        self.assertEqual(out["tasks"][1]["refusion"]["right"], 0)

        records = self.records("r.jsonl")
        self.assertEqual([(r["sample"], r["decode"]) for r in records],
                         [(i, decode) for i in range(5) for decode in ("refusion", "ar")])
        first = records[0]
        self.assertEqual((first["task"], first["id"], first["answer"], first["right"], first["reason"], first["finish"]),
                         ("code", "1", ANSWER, True, "", "stop"))
        self.assertEqual(records[6]["id"], "many")
        self.assertIn("wanted 1000", records[6]["reason"])
        self.assertEqual(len({r["settings"] for r in records}), 2)

        xml.etree.ElementTree.parse(self.path("r.svg"))
        self.assertIn("| refusion |", "".join(self.lines("r.md")))
        before = self.lines("r.jsonl")
        table = self.check_works(self.eval(*arguments))
        self.assertEqual(self.lines("r.jsonl"), before)
        self.assertRegex(table, r"(?m)^overall +5  refusion +\d")
        # Answers of other settings or tasks do not come in between.
        self.check_fails(self.eval(self.tasks, *QUICK, "--out", self.path("r.jsonl"), "--slot-size", "8"), 2, "r.jsonl",
                         "holds results of something else", "slot_size")
        self.check_fails(self.eval(self.tasks, *QUICK, "--out", self.path("r.jsonl"), "--limit", "1"), 2, "tasks")

    def test_sweep(self):
        out = json.loads(self.check_works(self.eval(self.tasks, *QUICK, "--limit", "1", "--task", "code", "--json",
                                                    "--sweep", "slot-size=4,8", "--sweep=token-threshold=0.3", "--svg", self.path("s.svg"))))
        self.assertEqual([point["name"] for point in out["overall"]["sweep"]],
                         ["slot-size=4 token-threshold=0.3", "slot-size=8 token-threshold=0.3"])
        self.assertNotIn("refusion", out["overall"])
        self.assertIn("accuracy", out["overall"]["ar"])
        self.assertEqual([variant.get("slot_size") for variant in out["run"]["variants"]], [4, 8, None])
        xml.etree.ElementTree.parse(self.path("s.svg"))

    def test_several_at_once(self):
        """The same answers, if they are to be; each takes longer than its share."""
        same = [self.tasks, *QUICK, "--task", "code", "--deterministic", "--out"]
        self.check_works(self.eval(*same, self.path("one.jsonl")))
        self.check_works(self.eval(*same, self.path("three.jsonl"), "--batch", "3"))
        by_place = sorted(self.records("three.jsonl"), key=lambda r: (r["sample"], r["decode"] == "ar"))
        self.assertEqual(by_place, self.records("one.jsonl"))
        records = [json.loads(line) for line in self.lines("three.jsonl")[1:]]
        self.assertTrue(all(r["seconds"] <= r["latency"] for r in records))
        self.assertGreater(sum(r["latency"] for r in records), 1.3 * sum(r["seconds"] for r in records))

    def test_python(self):
        task = {"query": QUESTION, "reference": "assert is_odd(3) and not is_odd(4)", "check": "python-tests"}
        wrong = {**task, "reference": "assert is_odd(4)"}
        path = self.write("py.jsonl", json.dumps(task) + "\n" + json.dumps(wrong) + "\n")
        result = self.eval(path, *QUICK, "--decode", "refusion", "--out", self.path("p.jsonl"))
        if result.returncode and "--no-python leaves the 2 samples" in result.stderr:
            self.skipTest(result.stderr)
        self.check_works(result)
        right, wrong = self.records("p.jsonl")
        self.assertEqual((right["right"], right["reason"]), (True, ""))
        self.assertFalse(wrong["right"])
        self.assertIn("AssertionError", wrong["reason"])
        self.check_fails(self.eval(path, "--no-python"), 2, "no sample is left")

    def test_built_in(self):
        out = json.loads(self.check_works(self.eval("-m", EMBEDDED, *QUICK, "--json", "--limit", "1", "--task", "clock",
                                                    "--task", "case", "--decode", "refusion", "--out",
                                                    self.path("built-in.jsonl"))))
        self.assertEqual([(task["name"], task["n"]) for task in out["tasks"]], [("clock", 1), ("case", 1)])
        with open(self.path("built-in.jsonl"), encoding="utf-8") as file:
            self.assertEqual(json.loads(file.readline())["variants"][0]["block"], 16, "not the model's preset")

    def test_malformed_lines(self):
        path = self.write("bad.jsonl", json.dumps(TASKS[0]) + "\n{\n")
        result = self.eval(path, *QUICK, "--decode", "ar", "--json")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(json.loads(result.stdout)["overall"]["n"], 1)
        first, last = result.stderr.splitlines()
        self.assertIn("bad.jsonl:2: ", first)
        self.assertEqual(last, "refusion: 1 malformed record was left out")

    def test_a_prompt_that_does_not_fit(self):
        path = self.write("long.jsonl", "".join(json.dumps({**TASKS[0], "query": query}) + "\n"
                                                for query in (QUESTION * 40, QUESTION)))
        self.check_works(self.eval(path, *QUICK, "--context", "128", "--decode", "refusion", "--out", self.path("l.jsonl")))
        long, short = self.records("l.jsonl")
        self.assertEqual((long["right"], long["tokens"], long["finish"]), (False, 0, "none"))
        self.assertIn("128", long["reason"])
        self.assertTrue(short["right"])


class Interrupted(EvalTest):
    def start(self, name):
        """A run that has a few answers; it is slowed down, so that it cannot finish meanwhile."""
        arguments = ["eval", self.tasks, "--no-tune", "--max-tokens", "32", "--out", self.path(name)]
        process = subprocess.Popen(command_line([*arguments, "--duty", "50"]), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, env=clean_environment(), start_new_session=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.stderr.close)
        end = time.monotonic() + 120
        while not os.path.exists(self.path(name)) or len(self.lines(name)) < 4:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        return process, arguments

    def check_rest(self, name, arguments, there):
        self.assertLess(len(there), 11)
        self.check_works(run(*arguments))
        self.assertEqual(self.lines(name)[:len(there)], there)
        self.assertEqual(self.records(name), alone())

    def test_kill(self):
        process, arguments = self.start("k.jsonl")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        whole = self.lines("k.jsonl")
        with open(self.path("k.jsonl"), "a", encoding="utf-8") as file:  # as if it had been in the middle of a line
            file.write('{"sample":4,"task":"su')
        self.check_rest("k.jsonl", arguments, whole)

    def test_ctrl_c(self):
        process, arguments = self.start("c.jsonl")
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
        self.assertEqual(process.wait(), 130, said)
        self.assertRegex(said, r"refusion: \d of 10 answers are in .*c\.jsonl; the same command goes on from there\n")
        self.check_rest("c.jsonl", arguments, self.lines("c.jsonl"))


class Shards(EvalTest):
    def test_one_after_the_other(self):
        """By the variables of each launcher."""
        arguments = [self.tasks, *QUICK, "--json", "--out", self.path("r.jsonl")]
        first = self.eval(*arguments, env={"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "3"})
        self.assertEqual(self.check_works(first), "")
        self.assertIn("refusion: shard 0 of 3, by Open MPI\n", first.stderr)
        self.assertIn("r.0-of-3.jsonl is complete; 2 other shards are not yet\n", first.stderr)
        second = self.eval(*arguments, env={"RANK": "1", "WORLD_SIZE": "3"})
        self.assertEqual(self.check_works(second), "")
        self.assertIn("shard 1 of 3, by torchrun\n", second.stderr)
        self.assertFalse(os.path.exists(self.path("r.jsonl")))
        third = self.eval(*arguments, env={"SLURM_PROCID": "2", "SLURM_NTASKS": "3"})
        out = json.loads(self.check_works(third))
        self.assertEqual(out["overall"]["n"], 5)
        self.assertEqual(self.records("r.jsonl"), alone())
        parts = [self.path(f"r.{i}-of-3.jsonl") for i in range(3)]
        self.assertEqual(json.loads(self.check_works(self.eval("--merge", "--json", *parts))), out)
        self.check_fails(self.eval("--merge", *parts[:2]), 2, "2 results are missing, the first is sample 2 by refusion")
        self.check_fails(self.eval("--merge", *parts, parts[0]), 2, "r.0-of-3.jsonl", "which another file has too")

    def mpirun(self):
        """It, or None, having said why, where it is not installed or cannot start even `true`: it needs a network interface."""
        found = shutil.which("mpirun")
        if not found or "Open MPI" not in subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout:
            print("no mpirun of Open MPI: its variables alone")
            return None
        probe = subprocess.run([found, "--oversubscribe", "-n", "2", "true"], env=launcher_environment(), capture_output=True,
                               text=True, check=False, timeout=60)
        if probe.returncode == 0:
            return found
        print("mpirun does not work here, its variables alone:", probe.stderr.strip().splitlines()[-3:])
        return None

    def launch(self, arguments):
        """Two processes by mpirun, where it works; else with its variables. Popen objects."""
        command = command_line(["eval", *arguments])
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        launcher = self.mpirun()
        if launcher:
            return [subprocess.Popen([launcher, "--oversubscribe", "-n", "2", *command], env=launcher_environment(), **pipes)]
        return [subprocess.Popen(command, env={**launcher_environment(), "OMPI_COMM_WORLD_RANK": str(i), "OMPI_COMM_WORLD_SIZE": "2"},
                                 **pipes) for i in range(2)]

    def finish(self, processes):
        """What they printed; all has to be well."""
        said = [process.communicate(timeout=300) for process in processes]
        for process, (_, errors) in zip(processes, said):
            self.assertEqual(process.returncode, 0, errors)
        return "".join(text for text, _ in said)

    def kill_all(self, processes):
        """With those that mpirun started, which are in other groups: told by this test's folder. They are gone afterwards:
        while one lives, its file is locked."""
        end = time.monotonic() + 60
        while self.kill_those_there():
            self.assertLess(time.monotonic(), end)
            for process in processes:
                process.poll()  # or it stays as a zombie
            time.sleep(0.01)
        for process in processes:
            process.communicate(timeout=300)

    def kill_those_there(self):
        """How many there were; a zombie has no command line."""
        count = 0
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if entry.isdecimal() and int(entry) != os.getpid():
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        if self.path("r.jsonl").encode() in file.read():
                            count += 1
                            os.kill(int(entry), signal.SIGKILL)
        return count

    def test_at_once(self):
        """Killed half-way, and started again."""
        arguments = [self.tasks, *QUICK, "--out", self.path("r.jsonl")]
        parts = [f"r.{i}-of-2.jsonl" for i in range(2)]
        killed = self.launch([*arguments, "--duty", "50"])
        end = time.monotonic() + 120
        while not all(os.path.exists(self.path(part)) and len(self.lines(part)) > 1 for part in parts):
            ended = [process.communicate() for process in killed if process.poll()]
            self.assertEqual(ended, [], "ended before the shards had an answer each")
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        self.kill_all(killed)
        self.assertFalse(os.path.exists(self.path("r.jsonl")))
        kept = [self.lines(part) for part in parts]
        tables = self.finish(self.launch(arguments))
        self.assertEqual(tables.count("overall"), 1, tables)
        self.assertEqual(self.records("r.jsonl"), alone())
        for part, lines in zip(parts, kept):
            whole = [line for line in lines if line.endswith("}")]  # all but one that was torn
            self.assertEqual(self.lines(part)[:len(whole)], whole)
        self.assertEqual(sorted(os.listdir(self.folder)), [*parts, "r.jsonl", "tasks.jsonl"])


class WrongOptions(EvalTest):
    """All before a device is looked for."""

    def check(self, part, *arguments, status=2, env=None):
        result = run("eval", *arguments, driver=None, env={"RF_DEVICE": "none such", **(env or {})})
        self.check_fails(result, status, part)

    def test_options(self):
        self.check('--format: found "squad", wanted one of jsonl, gsm8k', "--format", "squad", self.tasks)
        self.check("--format: found it without a FILE", "--format", "gsm8k")
        self.check('--task: found "nothing", wanted a task of the files', "--task", "nothing", self.tasks)
        self.check('--shard: found "2/2", wanted I/N', "--shard", "2/2", self.tasks)
        self.check("--out: not given", "--shard", "1/2", self.tasks)
        self.check("--merge: found no FILE", "--merge")
        self.check("--merge: found it beside --shard", "--merge", "--shard", "0/1", "x")
        for option in (["--system", "s"], ["--batch", "2"], ["--decode", "ar"], ["--model", "m"], ["--limit", "1"], ["--strict"]):
            self.check("--merge: found it beside " + " ".join(option), "--merge", "x", *option)
        self.check('--sweep: found "slots=4"', "--sweep", "slots=4", self.tasks)
        self.check("--sweep slot-size: found \"0\"", "--sweep=slot-size=0", self.tasks)
        self.check("--sweep: found it beside --decode ar", "--sweep", "--decode", "ar", self.tasks)
        self.check("slot-size=8 block=12: block 12: wanted a multiple of slot-size, 8", "--sweep", "slot-size=4,8", "--sweep",
                   "block=12", self.tasks)
        self.check('preset "fast"', "--preset", "fast", self.tasks)
        self.check('--test-memory: found "1M"', "--test-memory", "1M", self.tasks)
        self.check("RANK: found it in the environment without WORLD_SIZE", self.tasks, env={"RANK": "0"})

    def test_files(self):
        self.check("absent.jsonl: cannot open: No such file", self.path("absent.jsonl"), status=1)
        self.check("empty.jsonl: found no sample: it is empty", self.write("empty.jsonl", ""), status=1)
        bad = self.write("bad.jsonl", '{"query": "q", "reference": "r", "check": "guess"}\n')
        self.check('bad.jsonl:1: "check": found "guess"', "--strict", bad, status=1)
        self.check("t.parquet: found a Parquet file", "--format", "mmlu-pro", self.write("t.parquet", "PAR1"), status=1)


if __name__ == "__main__":
    main()
