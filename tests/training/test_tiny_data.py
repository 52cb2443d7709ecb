#!/usr/bin/env python3
"""The tiny model's data: nothing held out is seen in training, and every answer is right by a second opinion that reads the
query alone."""
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from unittest import mock

HERE = os.path.dirname(os.path.realpath(__file__))
TINY = os.path.join(HERE, "..", "..", "training", "tiny")
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.dirname(TINY))

import tiny_functions  # noqa: E402
import tiny_problems  # noqa: E402
import tiny_rewriting  # noqa: E402
from tiny import FAMILIES, GROUPS  # noqa: E402
from tiny import generate, streams, words  # noqa: E402
from tiny.family import is_held_out  # noqa: E402
from tiny.streams import held_out, held_out_tasks, training_samples, training_tasks  # noqa: E402

TRAINING = 201000
SEEDS = 3
HELD_OUT = 200  # of each family
CHECKED = 6000  # training samples that the second opinion sees
QUERY_LIMIT, RESPONSE_LIMIT = 160, 200  # characters


class Data:
    """What all tests look at, drawn once."""

    def __init__(self):
        self.held_out = {name: list(held_out(member, HELD_OUT)) for name, member in FAMILIES.items()}
        self.answers = {}  # query -> response
        self.parts = {name: set() for name in FAMILIES}
        self.combinations = {name: set() for name in FAMILIES}
        self.facts = set()
        self.groups, self.checked, self.disagreements = Counter(), [], []
        self.longest = Counter()
        for seed in range(SEEDS):
            stream = training_tasks(seed)
            for number in range(TRAINING // SEEDS):
                member, task = next(stream)
                self.see(member, task)
                if number < CHECKED // SEEDS:
                    self.checked.append((member.name, task))

    def see(self, member, task):
        self.groups[member.group] += 1
        if self.answers.setdefault(task.query, task.response) != task.response:
            self.disagreements.append(task.query)
        self.parts[member.name].update(task.combination)
        self.combinations[member.name].add(task.combination)
        self.longest["query"] = max(self.longest["query"], len(task.query))
        self.longest["response"] = max(self.longest["response"], len(task.response))
        if member.group == "word problems":
            for chain in tiny_problems.chains(task.response):
                self.facts.update(tiny_problems.facts(chain))


DATA = None


def setUpModule():
    global DATA
    DATA = Data()


def everything():
    for name, tasks in DATA.held_out.items():
        for task in tasks:
            yield name, task
    yield from DATA.checked


class Split(unittest.TestCase):
    def test_size(self):
        self.assertGreaterEqual(TRAINING, 200000)
        for name, tasks in DATA.held_out.items():
            self.assertEqual(len({task.query for task in tasks}), HELD_OUT, name)
            self.assertGreaterEqual(len({task.combination for task in tasks}), 20, name)  # not one mistake many times

    def test_no_held_out_query_in_training(self):
        for name, tasks in DATA.held_out.items():
            for task in tasks:
                self.assertNotIn(task.query, DATA.answers, name)

    def test_no_held_out_combination_in_training(self):
        for name, tasks in DATA.held_out.items():
            for task in tasks:
                self.assertTrue(is_held_out(name, task.combination), (name, task))
                self.assertNotIn(task.combination, DATA.combinations[name], (name, task))

    def test_parts_are_seen(self):
        for name, tasks in DATA.held_out.items():
            for task in tasks:
                self.assertLessEqual(set(task.combination), DATA.parts[name], (name, task.query))

    def test_steps_are_seen(self):
        """A held-out word problem asks for no product, sum or quotient that training does not show: all but one in a thousand,
        because 18 + 80 needs one of two numbers behind 18."""
        tasks = [task for name, tasks in DATA.held_out.items() if name in tiny_problems.ANSWERS for task in tasks]
        unseen = [task.response for task in tasks for chain in tiny_problems.chains(task.response)
                  if not DATA.facts.issuperset(tiny_problems.facts(chain))]
        self.assertLessEqual(len(unseen), len(tasks) / 1000, unseen)

    def test_answer_follows_from_query(self):
        self.assertEqual(DATA.disagreements, [])

    def test_words_differ(self):
        for name in ("NAMES", "THINGS", "BOXES", "CITIES", "COLOURS", "JOBS", "MONTHS", "LISTS", "TEXTS"):
            pool = getattr(words, name)
            self.assertEqual(len(set(pool)), len(pool), name)
        self.assertEqual(len({name[0] for name in words.NAMES}), len(words.NAMES))

    def test_groups(self):
        for group, least in zip(GROUPS, (12, 12, 8)):
            self.assertGreaterEqual(sum(member.group == group for member in FAMILIES.values()), least, group)
            self.assertAlmostEqual(DATA.groups[group] / TRAINING, 1 / 3, delta=0.01)
        self.assertGreaterEqual(len(FAMILIES), 30)

    def test_lengths(self):
        self.assertLessEqual(DATA.longest["query"], QUERY_LIMIT)
        self.assertLessEqual(DATA.longest["response"], RESPONSE_LIMIT)


class Answers(unittest.TestCase):
    def test_every_family_is_checked(self):
        known = [*tiny_problems.ANSWERS, *tiny_functions.BEHAVIOUR, *tiny_rewriting.ANSWERS]
        self.assertEqual(known, list(FAMILIES))

    def test_word_problems(self):
        for name, task in everything():
            if name in tiny_problems.ANSWERS:
                answer = str(tiny_problems.ANSWERS[name](task.query))
                self.assertTrue(task.response.endswith(f"\nThe answer is {answer}."), (name, task))
                if task.check == "number":
                    self.assertEqual(task.reference(), answer, (name, task))
                else:
                    self.assertTrue(re.search(task.reference(), task.response), (name, task))
                    self.assertFalse(re.search(task.reference(), task.response.replace(answer, answer + "0")), (name, task))

    def test_steps(self):
        """Each step is an equation that holds, and small enough to be learnt by heart."""
        for name, task in everything():
            if name not in tiny_problems.ANSWERS:
                continue
            chains = list(tiny_problems.chains(task.response))
            lines = [line for line in task.response.split("\n")[:-1] if "=" in line]
            self.assertEqual(len(chains), len(lines), (name, task))
            for chain in chains:
                self.assertEqual(len({tiny_problems.worth(side) for side in chain}), 1, (name, task))
                for sign, a, b in tiny_problems.facts(chain):
                    small = a <= 100 and (b < 10 or b % 10 == 0) if sign in "+-" else b < 10
                    self.assertTrue(small, (name, sign, a, b, task.response))

    def test_steps_follow(self):
        """A step starts from numbers of the query, results of earlier steps, or what its family knows."""
        for name, task in everything():
            if name not in tiny_problems.ANSWERS:
                continue
            known = set(tiny_problems.numbers(task.query)) | tiny_problems.KNOWN.get(name, set())
            for chain in tiny_problems.chains(task.response):
                a, _, b = chain[0]
                self.assertLessEqual({int(a), int(b)}, known, (name, task))
                result = int(tiny_problems.worth(chain[-1]))
                known.add(result)
            if task.check == "number":
                self.assertEqual(str(result), task.reference(), (name, task))

    def test_rewriting(self):
        for name, task in everything():
            if name in tiny_rewriting.ANSWERS:
                self.assertEqual(task.check, "exact")
                self.assertEqual(task.response, tiny_rewriting.ANSWERS[name](task.query), (name, task.query))
                self.assertEqual(task.reference(), task.response)


def program(response):
    found = re.fullmatch(r"```python\n(.*)\n```", response, re.DOTALL)
    if not found:
        raise ValueError(f"{response!r} is not one block of Python")
    return found[1]


def run(source):
    names = {}
    exec(compile(source, "answer", "exec"), names)
    return names


def passes(source, tests):
    try:
        run(source + "\n" + tests)
    except Exception:  # whatever a wrong program may raise
        return False
    return True


SWAPS = {">": ">=", ">=": ">", "<": "<=", "<=": "<", "==": "!=", "!=": "==", "+": "-", "-": "+", "*": "+", "**": "*", "//": "*",
         "any": "all", "all": "any", "+=": "=", "not": "", "if": "if not"}


def mutants(source):
    """Programs that differ in one constant, operator or word."""
    body = source.index("\n")
    for found in re.finditer(r'(?<=[ (\[:-])\d+|"\w+"|(?<= )(?:[-+*/<>=!]+|not|if)(?= )|any|all', source):
        if found.start() > body and found[0] != "=":
            text = found[0]
            if text.isdecimal():
                changed = str(int(text) + 1)
            else:
                changed = f'"{text[1:-1]}z"' if text[0] == '"' else SWAPS[text]
            yield source[:found.start()] + changed + source[found.end():]


class Functions(unittest.TestCase):
    def test_behaviour(self):
        for name, task in everything():
            if name in tiny_functions.BEHAVIOUR:
                wanted, (called, argument) = tiny_functions.BEHAVIOUR[name](task.query), tiny_functions.signature(task.query)
                self.assertIn(f"def {called}({argument}):\n", task.response, name)
                function = run(program(task.response))[called]
                for value in tiny_functions.inputs(name, task.query):
                    self.assertEqual(function(value), wanted(value), (name, task.query, value))

    def test_reference_accepts_the_answer(self):
        for name, task in everything():
            if name in tiny_functions.BEHAVIOUR:
                self.assertEqual(task.check, "python-tests")
                self.assertTrue(passes(program(task.response), task.reference()), (name, task.query, task.reference()))

    def same(self, name, task, source):
        """Whether the program is right after all: x <= 0 for x < 0, in a sum."""
        wanted, (called, _) = tiny_functions.BEHAVIOUR[name](task.query), tiny_functions.signature(task.query)
        function = run(source)[called]
        return all(function(value) == wanted(value) for value in tiny_functions.inputs(name, task.query))

    def test_reference_refuses_others(self):
        """A changed constant, operator or word fails the tests."""
        for name in tiny_functions.BEHAVIOUR:
            tried = 0
            for task in DATA.held_out[name][:60]:
                source, tests = program(task.response), task.reference()
                for mutant in mutants(source):
                    if passes(mutant, tests):
                        self.assertTrue(self.same(name, task, mutant), (name, task.query, mutant, tests))
                    else:
                        tried += 1
            self.assertGreaterEqual(tried, 60, name)


class Streams(unittest.TestCase):
    def test_seeds(self):
        first, again, other = (list(training_samples(seed, 300)) for seed in (5, 5, 6))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)
        self.assertEqual(first[:100], list(training_samples(5, 100)))

    def test_held_out_is_a_prefix_of_more(self):
        few, more = ([task for task in held_out_tasks(count) if task["family"] == "packs"] for count in (3, 10))
        self.assertEqual(few, more[:3])

    def test_families(self):
        stream = training_tasks(1, ["packs", "tally"])
        drawn = Counter(next(stream)[0].name for _ in range(900))
        self.assertEqual(set(drawn), {"packs", "tally"})
        self.assertAlmostEqual(drawn["packs"] / 900, 0.5, delta=0.06)

    def test_weights(self):
        """Word problems twice as often as rewriting; trip's weight is 1 and tally's 2 where nothing else is asked for."""
        stream = training_tasks(1, ["packs", "trip", "letters", "tally", "case"], {"word problems": 2, "packs": 3, "case": 4})
        drawn = Counter(next(stream)[0].name for _ in range(9000))
        for name, share in {"packs": 6 / 16, "trip": 2 / 16, "letters": 4 / 16, "tally": 4 / 48, "case": 8 / 48}.items():
            self.assertAlmostEqual(drawn[name] / 9000, share, delta=0.02, msg=name)



def command(*arguments, **options):
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **options)
    return subprocess.run([sys.executable, os.path.join(TINY, "generate.py"), *arguments], capture_output=True, text=True,
                          env=environment, check=False)


class Program(unittest.TestCase):
    def test_train(self):
        """The same bytes in every process, whatever the order of Python's sets."""
        outputs = []
        for hash_seed in ("1", "2"):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "train.jsonl")
                result = command("--train", "400", "--seed", "9", "--out", path, PYTHONHASHSEED=hash_seed)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertEqual(os.listdir(folder), ["train.jsonl"])
                with open(path, encoding="utf-8") as file:
                    outputs.append(file.read())
        self.assertEqual(outputs[0], outputs[1])
        samples = [json.loads(line) for line in outputs[0].splitlines()]
        self.assertEqual(samples, list(training_samples(9, 400)))
        weighted = command("--train", "50", "--seed", "9", "--weights", "functions=2,case=9").stdout
        self.assertEqual([json.loads(line) for line in weighted.splitlines()],
                         list(training_samples(9, 50, weights={"functions": 2, "case": 9})))
        self.assertEqual({tuple(sample) for sample in samples}, {("query", "response")})

    def test_heldout(self):
        outputs = [command("--heldout", "4", PYTHONHASHSEED=hash_seed) for hash_seed in ("1", "2")]
        self.assertEqual(outputs[0].stdout, outputs[1].stdout)
        tasks = [json.loads(line) for line in outputs[0].stdout.splitlines()]
        self.assertEqual(Counter(task["family"] for task in tasks), {name: 4 for name in FAMILIES})
        for task in tasks:
            self.assertEqual(list(task), ["family", "query", "reference", "check"])
            self.assertIn(task["check"], ("exact", "number", "regex", "python-tests"))

    def test_the_committed_file(self):
        """models/tiny/heldout.jsonl, with the command of its README."""
        model = os.path.join(HERE, "..", "..", "models", "tiny")
        with open(os.path.join(model, "README.md"), encoding="utf-8") as file:
            line, = [line.split() for line in file if "generate.py --heldout" in line]
        self.assertEqual(line[:2] + line[3:], ["training/tiny/generate.py", "--heldout", "--out", "models/tiny/heldout.jsonl"])
        with open(os.path.join(model, "heldout.jsonl"), encoding="utf-8") as file:
            self.assertEqual(command("--heldout", line[2]).stdout, file.read(), "make it anew: " + " ".join(line))

    def test_bad_input(self):
        for arguments, said in (
                (["--train", "0"], "argument --train: found '0', wanted a number from 1"),
                (["--train", "3", "--families", "packs,pacs"], "argument --families: no family 'pacs', there are sums, packs"),
                (["--train", "3", "--heldout", "3"], "argument --heldout: not allowed with argument --train"),
                (["--stats", "3", "--out", "x"], "--out is for --train and --heldout"),
                (["--train", "3", "--out", "/nowhere/x"], "generate.py: /nowhere/x: No such file or directory"),
                (["--train", "3", "--families", "case,case"], "argument --families: family 'case' is named 2 times"),
                (["--train", "3", "--weights", "case=0"], "argument --weights: found '0', wanted a number from 1"),
                (["--train", "3", "--weights", "case=2,case=3"], "argument --weights: 'case' is named more than once"),
                (["--train", "3", "--weights", "cases=2"], "argument --weights: no family or group 'cases', there are word problems,"),
                (["--train", "3", "--weights", "case=2", "--families", "packs"], "--weights: 'case' is not among the --families"),
                (["--heldout", "3", "--weights", "case=2"], "--weights is for --train and --stats"),
                (["--heldout", "3", "--seed", "3"], "--seed is for --train and --stats: the held-out tasks are always the same")):
            result = command(*arguments)
            self.assertNotEqual(result.returncode, 0, arguments)
            self.assertIn(said, result.stderr)
            self.assertNotIn("Traceback", result.stderr)

    def test_too_many_held_out(self):
        """One line, and no file that is cut."""
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(streams, "HELD_OUT_LIMIT", 2):
            said = generate.main(["--heldout", "9999999", "--families", "case", "--out", os.path.join(folder, "held.jsonl")])
            self.assertRegex(said, r"^generate\.py: family case: \d+ held-out tasks found, 9999999 wanted$")
            self.assertEqual(os.listdir(folder), [])

    def test_stats(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(generate.main(["--stats", "3000"]), 0)
        for name in FAMILIES:
            self.assertRegex(out.getvalue(), rf"(?m)^{name} +\d+ +\d+ +\d+ +\d+\.\d\d ( +\d+){{6}}$")

    def test_readme_has_the_table(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            generate.main(["--table"])
        with open(os.path.join(TINY, "README.md"), encoding="utf-8") as file:
            self.assertIn(out.getvalue().strip(), file.read(), "run generate.py --table and put what it prints into README.md")


if __name__ == "__main__":
    unittest.main()
