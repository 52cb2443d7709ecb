"""Python functions with tests. The query gives the function's name and arguments, so that the answer follows from it."""
import random

from .family import family
from .words import LISTS, TEXTS

GROUP = "functions"
TESTS = 16  # at most, of a function

LEARNABLE = "one skeleton; name, arguments and constants are copied"

# A condition on x: how it is said after "that are" (singular after "that is"), its code, its meaning.
COMPARED = {
    "above": (("above {c}", "greater than {c}"), "x > {c}", lambda x, c: x > c),
    "below": (("below {c}", "less than {c}"), "x < {c}", lambda x, c: x < c),
    "at least": (("at least {c}", "{c} or more"), "x >= {c}", lambda x, c: x >= c),
    "at most": (("at most {c}", "{c} or less"), "x <= {c}", lambda x, c: x <= c),
    "other": (("other than {c}", "not equal to {c}"), "x != {c}", lambda x, c: x != c),
    "divisible": (("divisible by {c}", "multiples of {c}"), "x % {c} == 0", lambda x, c: x % c == 0),
    "even": (("even", "even"), "x % 2 == 0", lambda x, c: x % 2 == 0),
    "odd": (("odd", "odd"), "x % 2 == 1", lambda x, c: x % 2 == 1),
    "positive": (("positive", "above zero"), "x > 0", lambda x, c: x > 0),
    "negative": (("negative", "below zero"), "x < 0", lambda x, c: x < 0),
}
WITH_CONSTANT = tuple(COMPARED)[:6]


class Condition:
    """One of COMPARED with its constant (None where it has none)."""

    def __init__(self, d):
        self.kind = d.pick(WITH_CONSTANT if d.random() < 0.75 else tuple(COMPARED)[6:])
        self.constant = None
        if self.kind in WITH_CONSTANT:
            self.constant = d.number(2, 9) if self.kind == "divisible" else d.number(2, 30)
        self.code = COMPARED[self.kind][1].format(c=self.constant)

    def said(self, d):
        return d.phrase(*COMPARED[self.kind][0]).format(c=self.constant)

    def holds(self, x):
        return COMPARED[self.kind][2](x, self.constant)

    def numbers(self, pick):
        """Lists that tell this condition from its neighbours."""
        c = self.constant or 0
        near = [c - 1, c, c + 1, 2 * c, -1, 0, 1, 2, 3]
        return [[]] + [[x] for x in near] + [near, near[::-1]] + [[pick.randint(-40, 70) for _ in range(8)] for _ in range(3)]


def ask(d, signature, does):
    """The query, of what the function does ("returns ...")."""
    return d.phrase(
        f"Write a Python function {signature} that {does}.",
        f"Write a function {signature} in Python. It {does}.",
        f"Python: define {signature}. The function {does}.",
        f"I need a Python function {signature} that {does}.",
    )


def answer(signature, lines):
    return "\n".join(["```python", f"def {signature}:"] + ["    " + line for line in lines] + ["```"])


def program(query, signature, lines, truth, inputs):
    """A task whose tests call the function with inputs(random), a list of argument tuples, and want what truth gives.

    Calls with different results come first, and the tests hang on the query alone.
    """
    def tests():
        called = signature[:signature.index("(")]
        calls = inputs(random.Random(query))
        seen, first, rest = set(), [], []
        for arguments in calls:
            result = repr(truth(*arguments))
            (rest if result in seen else first).append((arguments, result))
            seen.add(result)
        return "\n".join(f"assert {called}({', '.join(map(repr, arguments))}) == {result}"
                         for arguments, result in (first + rest)[:TESTS])
    return query, answer(signature, lines), "python-tests", tests


def name(d, *verbs):
    """A function's name and, of other words, its argument."""
    noun, argument = d.some(LISTS, 2)
    return f"{d.pick(verbs)}_{noun}", argument


def of_lists(condition):
    return lambda pick: [(numbers,) for numbers in condition.numbers(pick)]


@family(GROUP, "(name, condition, constant)", LEARNABLE)
def count_if(d):
    (called, argument), condition = name(d, "count", "tally", "number_of"), Condition(d)
    d.hold(called, condition.kind, condition.constant)
    signature, said = f"{called}({argument})", condition.said(d)
    query = ask(d, signature, d.phrase(f"counts the numbers in a list that are {said}",
                                       f"returns how many numbers of a list are {said}",
                                       f"tells how many elements of {argument} are {said}"))
    return program(query, signature, ["count = 0", f"for x in {argument}:", f"    if {condition.code}:", "        count += 1",
                                      "return count"],
                   lambda numbers: sum(map(condition.holds, numbers)), of_lists(condition))


@family(GROUP, "(name, condition, constant)", LEARNABLE)
def total_if(d):
    (called, argument), condition = name(d, "sum", "total", "add_up"), Condition(d)
    d.hold(called, condition.kind, condition.constant)
    signature, said = f"{called}({argument})", condition.said(d)
    query = ask(d, signature, d.phrase(f"adds up the numbers in a list that are {said}",
                                       f"returns the sum of the numbers in a list that are {said}",
                                       f"sums the elements of {argument} that are {said}"))
    return program(query, signature, ["total = 0", f"for x in {argument}:", f"    if {condition.code}:", "        total += x",
                                      "return total"],
                   lambda numbers: sum(filter(condition.holds, numbers)), of_lists(condition))


@family(GROUP, "(name, keep or drop, condition, constant)", LEARNABLE + "; 'not' where they are dropped")
def keep_if(d):
    (called, argument), condition, keep = name(d, "filter", "select", "pick"), Condition(d), d.pick((True, True, False))
    d.hold(called, "keep" if keep else "drop", condition.kind, condition.constant)
    signature, said = f"{called}({argument})", condition.said(d)
    does = d.phrase(f"keeps the numbers of a list that are {said}", f"returns only the elements of {argument} that are {said}",
                    f"returns the numbers in a list that are {said}") if keep else d.phrase(
        f"drops the numbers of a list that are {said}", f"returns a list without the numbers that are {said}",
        f"removes the elements of {argument} that are {said}")
    code = condition.code if keep else f"not {condition.code}"
    return program(ask(d, signature, does), signature, [f"return [x for x in {argument} if {code}]"],
                   lambda numbers: [x for x in numbers if condition.holds(x) == keep], of_lists(condition))


@family(GROUP, "(name, any or all, condition, constant)", LEARNABLE)
def any_or_all(d):
    (called, argument), condition, every = name(d, "check", "test", "has"), Condition(d), d.pick((True, False))
    d.hold(called, "all" if every else "any", condition.kind, condition.constant)
    signature, said = f"{called}({argument})", condition.said(d)
    does = d.phrase(f"tells if all numbers in a list are {said}", f"returns True if all elements of {argument} are {said}",
                    f"checks that all numbers of a list are {said}") if every else d.phrase(
        f"tells if any numbers in a list are {said}", f"returns True if any elements of {argument} are {said}",
        f"checks that some numbers of a list are {said}")
    which = all if every else any
    return program(ask(d, signature, does), signature, [f"return {which.__name__}({condition.code} for x in {argument})"],
                   lambda numbers: which(map(condition.holds, numbers)), of_lists(condition))


@family(GROUP, "(name, condition, constant, default)", LEARNABLE)
def find_one(d):
    (called, argument), condition, default = name(d, "find", "first", "search"), Condition(d), d.pick((None, -1, 0))
    last = d.pick((False, False, True))
    d.hold(called, condition.kind, condition.constant, default)
    signature, said, which = f"{called}({argument})", condition.said(d), "last" if last else "first"
    query = ask(d, signature, d.phrase(f"returns the {which} of the numbers that are {said}, or {default} if there is none",
                                       f"finds the {which} of the elements of {argument} that are {said}, or {default}",
                                       f"returns {default} or, if there are any, the {which} of the numbers that are {said}"))

    def truth(numbers):
        found = list(filter(condition.holds, numbers))
        return found[-1 if last else 0] if found else default
    over = f"reversed({argument})" if last else argument
    return program(query, signature, [f"for x in {over}:", f"    if {condition.code}:", "        return x", f"return {default}"],
                   truth, of_lists(condition))


# An operation on x: how it is said of several numbers, its code.
OPERATIONS = {
    "+": ("adds {c} to", lambda x, c: x + c),
    "-": ("subtracts {c} from", lambda x, c: x - c),
    "*": ("multiplies by {c}", lambda x, c: x * c),
    "//": ("divides by {c} and rounds down", lambda x, c: x // c),
}


@family(GROUP, "(name, operation, constant)", LEARNABLE)
def change_each(d):
    (called, argument), sign, c = name(d, "change", "update", "map"), d.pick(list(OPERATIONS)), d.number(2, 30)
    d.hold(called, sign, c)
    signature = f"{called}({argument})"
    each = d.phrase("each number of a list", f"each element of {argument}", "every number in a list")
    verb = OPERATIONS[sign][0].format(c=c)
    if sign in "+-":
        does = f"{verb} {each}"
    else:
        verb, by = verb.split(" ", 1)
        does = f"{verb} {each} {by}"
    return program(ask(d, signature, does), signature, [f"return [x {sign} {c} for x in {argument}]"],
                   lambda numbers: [OPERATIONS[sign][1](x, c) for x in numbers],
                   lambda pick: [([],), ([c, c + 1, 2 * c, 0],)] + [([pick.randint(-40, 99) for _ in range(4)],)
                                                                    for _ in range(3)])


VALUES = ("n", "x", "number", "value")


@family(GROUP, "(name, first operation, second operation, constants)", "one line; which operation comes first sets the brackets",
        risk="brackets around the first of two operations")
def formula(d):
    called = f"{d.pick(('apply', 'compute', 'make', 'get'))}_{d.pick(('result', 'total', 'score', 'price'))}"
    argument, (one, two), a, b = d.pick(VALUES), d.some(("+", "-", "*"), 2), d.number(2, 12), d.number(2, 12)
    d.hold(called, one, two, a, b)
    verbs = {"+": "adds {}", "-": "subtracts {}", "*": "multiplies by {}"}
    first, second = verbs[one].format(a), verbs[two].format(b)
    signature = f"{called}({argument})"
    query = ask(d, signature, d.phrase(f"takes {argument}, {first} and then {second}", f"first {first}, then {second}",
                                       f"{first} and after that {second}"))
    return program(query, signature, [f"return ({argument} {one} {a}) {two} {b}"],
                   lambda x: OPERATIONS[two][1](OPERATIONS[one][1](x, a), b),
                   lambda pick: [(x,) for x in (0, 1, a, b, -3, pick.randint(20, 99))])


@family(GROUP, "(name, low, high)", LEARNABLE)
def clamp(d):
    called = f"{d.pick(('clamp', 'limit', 'bound'))}_{d.pick(('score', 'price', 'value', 'number', 'age'))}"
    argument, low, high = d.pick(("n", "x", "level")), d.number(0, 20), d.number(30, 99)
    d.hold(called, low, high)
    signature = f"{called}({argument})"
    query = ask(d, signature, d.phrase(f"limits {argument} to the range from {low} to {high}",
                                       f"returns {argument}, but at least {low} and at most {high}",
                                       f"keeps {argument} between {low} and {high}"))
    return program(query, signature, [f"if {argument} < {low}:", f"    return {low}", f"if {argument} > {high}:",
                                      f"    return {high}", f"return {argument}"],
                   lambda x: max(low, min(x, high)),
                   lambda pick: [(x,) for x in (low - 1, low, low + 0.5, low + 1, high - 1, high - 0.5, high, high + 0.5,
                                                high + 1, high + 2, pick.randint(low, high), -5)])


LABELS = (("high", "low", "middle"), ("hot", "cold", "mild"), ("big", "small", "medium"), ("many", "few", "some"),
          ("old", "young", "adult"), ("fast", "slow", "normal"))


@family(GROUP, "(labels, above, below)", LEARNABLE, risk="six constants and words to copy, in either order")
def label(d):
    (top, bottom, middle), high, low = d.pick(LABELS), d.number(20, 60), d.number(2, 19)
    d.hold(top, high, low)
    called, argument = f"{d.pick(('label', 'name', 'grade'))}_{d.pick(('level', 'value', 'score', 'number'))}", d.pick("nx")
    signature = f"{called}({argument})"
    query = ask(d, signature, d.phrase(
        f'returns "{top}" if {argument} is above {high}, "{bottom}" if it is below {low} and "{middle}" otherwise',
        f'returns "{bottom}" for numbers below {low}, "{top}" for numbers above {high} and "{middle}" for the others',
        f'returns "{middle}", but "{top}" above {high} and "{bottom}" below {low}'))
    return program(query, signature, [f"if {argument} > {high}:", f'    return "{top}"', f"if {argument} < {low}:",
                                      f'    return "{bottom}"', f'return "{middle}"'],
                   lambda x: top if x > high else bottom if x < low else middle,
                   lambda pick: [(x,) for x in (high + 2, low - 2, low, high, high + 1, low - 1, pick.randint(low, high))])


UNITS = {("weeks", "days"): 7, ("days", "hours"): 24, ("hours", "minutes"): 60, ("minutes", "seconds"): 60,
         ("years", "months"): 12, ("metres", "centimetres"): 100, ("kilometres", "metres"): 1000, ("feet", "inches"): 12,
         ("yards", "feet"): 3, ("dollars", "cents"): 100, ("hours", "seconds"): 3600, ("years", "weeks"): 52}


@family(GROUP, "(name, argument, units)", "twelve pairs of units have their factor; * or // by direction",
        risk="factors are learnt by heart")
def convert(d):
    (large, small), back, argument = d.pick(list(UNITS)), d.pick((True, False)), d.pick(VALUES + ("amount", "count"))
    verb, source, target = d.pick(("convert", "turn", "change")), *((small, large) if back else (large, small))
    called = d.pick((f"{source}_to_{target}", f"{verb}_{source}", f"{verb}_to_{target}", f"{verb}_units"))
    d.hold(called, argument, source, target)
    signature, factor = f"{called}({argument})", UNITS[large, small]
    whole = "whole " if back else ""
    query = ask(d, signature, d.phrase(f"converts {source} to {whole}{target}", f"turns {source} into {whole}{target}",
                                       f"returns how many {whole}{target} there are in {argument} {source}"))
    return program(query, signature, [f"return {argument} {'//' if back else '*'} {factor}"],
                   lambda x: x // factor if back else x * factor,
                   lambda pick: [(x,) for x in (1, 0, factor - 1, factor, 2 * factor + 1, pick.randint(2, 9),
                                                20 * factor - 1, 2000 * factor, 2000 * factor - 1)])


LETTERS = "abdeilmnorst"


@family(GROUP, "(name, operation, letters)", LEARNABLE + "; seven methods of texts")
def letters(d):
    kind = d.pick(("replace", "remove", "count", "start", "end", "contain", "split"))
    (a, b), argument = d.some(LETTERS, 2), d.pick(TEXTS)
    called = f"{d.pick(('edit', 'check', 'handle', 'scan'))}_{d.pick(TEXTS)}"
    d.hold(called, kind, a, b if kind == "replace" else None)
    signature = f"{called}({argument})"
    does, code, truth = {
        "replace": ((f'replaces each "{a}" in {argument} by "{b}"', f'returns {argument} with "{b}" for every "{a}"'),
                    f'.replace("{a}", "{b}")', lambda text: text.replace(a, b)),
        "remove": ((f'removes each "{a}" from {argument}', f'returns {argument} without the letter "{a}"'),
                   f'.replace("{a}", "")', lambda text: text.replace(a, "")),
        "count": ((f'counts the letter "{a}" in {argument}', f'returns how many times "{a}" is in {argument}'),
                  f'.count("{a}")', lambda text: text.count(a)),
        "start": ((f'tells if {argument} starts with "{a}"', f'returns True if the first letter of {argument} is "{a}"'),
                  f'.startswith("{a}")', lambda text: text.startswith(a)),
        "end": ((f'tells if {argument} ends with "{a}"', f'returns True if the last letter of {argument} is "{a}"'),
                f'.endswith("{a}")', lambda text: text.endswith(a)),
        "contain": ((f'tells if "{a}" is in {argument}', f'returns True if {argument} contains "{a}"'), None,
                    lambda text: a in text),
        "split": ((f'splits {argument} at each "{a}"', f'returns the parts of {argument} between each "{a}"'),
                  f'.split("{a}")', lambda text: text.split(a)),
    }[kind]
    does = d.phrase(*does)
    line = f"return {argument}{code}" if code else f'return "{a}" in {argument}'
    return program(ask(d, signature, does), signature, [line], truth,
                   lambda pick: [(text,) for text in ("", a, a + b + a, b + a + b, b, a + "x", "x" + a, LETTERS)])


@family(GROUP, "(name, which, constant or letter)", LEARNABLE)
def pick_words(d):
    kind = d.pick(("longer", "shorter", "exact", "start", "end"))
    what = d.pick(LETTERS) if kind in ("start", "end") else d.number(2, 12)
    called = f"{d.pick(('pick', 'select', 'filter'))}_{d.pick(('words', 'names', 'lines', 'parts'))}"
    argument = d.pick(("words", "names", "lines", "parts"))
    d.hold(called, kind, what)
    signature = f"{called}({argument})"
    said, code, truth = {
        "longer": ((f"longer than {what} letters", f"of more than {what} letters"), f"len(w) > {what}",
                   lambda w: len(w) > what),
        "shorter": ((f"shorter than {what} letters", f"of less than {what} letters"), f"len(w) < {what}",
                    lambda w: len(w) < what),
        "exact": ((f"of exactly {what} letters", f"of length {what}"), f"len(w) == {what}", lambda w: len(w) == what),
        "start": ((f'that start with "{what}"', f'whose first letter is "{what}"'), f'w.startswith("{what}")',
                  lambda w: w.startswith(str(what))),
        "end": ((f'that end with "{what}"', f'whose last letter is "{what}"'), f'w.endswith("{what}")',
                lambda w: w.endswith(str(what))),
    }[kind]
    said = d.phrase(*said)
    query = ask(d, signature, d.phrase(f"returns the words of a list {said}", f"keeps the elements of {argument} {said}"))

    def inputs(pick):
        if kind in ("start", "end"):
            some = [what + "x", "x" + what, what, "x" + what + "x", "xx", ""]
        else:
            some = ["x" * length for length in (0, 1, what - 1, what, what + 1, what + 2, what + 3)]
        return [(some,), (some[::-1],), ([],), ([pick.choice(some) for _ in range(3)],)]
    return program(query, signature, [f"return [w for w in {argument} if {code}]"],
                   lambda words: list(filter(truth, words)), inputs)


@family(GROUP, "(name, which part, constant)", "seven slices; name, argument and constant are copied")
def slices(d):
    kind, c = d.pick(("first", "last", "without first", "without last", "every", "first reversed", "rotate")), d.number(2, 12)
    called, argument = name(d, "cut", "take", "slice")
    d.hold(called, kind, c)
    signature = f"{called}({argument})"
    said, code, truth = {
        "first": ((f"the first {c} elements of a list", f"the elements of {argument} up to number {c}"), f"[:{c}]",
                  lambda v: v[:c]),
        "last": ((f"the last {c} elements of a list", f"the {c} elements at the end of {argument}"), f"[-{c}:]",
                 lambda v: v[-c:]),
        "without first": ((f"a list without its first {c} elements", f"all elements of {argument} after the first {c}"),
                          f"[{c}:]", lambda v: v[c:]),
        "without last": ((f"a list without its last {c} elements", f"all elements of {argument} before the last {c}"),
                         f"[:-{c}]", lambda v: v[:-c]),
        "every": ((f"one element in {c} of a list, from the first on",
                           f"the first element of {argument} and then one in {c}"), f"[::{c}]", lambda v: v[::c]),
        "first reversed": ((f"the first {c} elements of a list in reverse order",
                                    f"the elements of {argument} up to number {c}, reversed"), f"[:{c}][::-1]",
                           lambda v: v[:c][::-1]),
        "rotate": ((f"a list with its first {c} elements moved to the end",
                            f"{argument} with the first {c} elements put last"), None, lambda v: v[c:] + v[:c]),
    }[kind]
    said = d.phrase(*said)
    line = f"return {argument}{code}" if code else f"return {argument}[{c}:] + {argument}[:{c}]"
    return program(ask(d, signature, d.phrase("returns", "gives") + f" {said}"), signature, [line], truth,
                   lambda pick: [(list(range(n)),) for n in (c + 1, 0, 1, c, 2 * c + 3, c + 2, 4 * c)])


@family(GROUP, "(name, what is summed, constant)", "one loop; the step, or what is added, is of four kinds")
def series(d):
    kind, c = d.pick(("multiples", "power", "times", "from")), d.number(2, 20)
    c = d.number(2, 5) if kind == "power" else c
    called = f"{d.pick(('sum', 'add', 'total'))}_{d.pick(('up', 'all', 'series', 'range'))}"
    argument = d.pick(("n", "limit", "end", "last"))
    d.hold(called, kind, c)
    signature = f"{called}({argument})"
    said, start, term, truth = {
        "multiples": ((f"the multiples of {c} up to {argument}",
                               f"the numbers up to {argument} that are divisible by {c}"),
                      f"range({c}, {argument} + 1, {c})", "i", lambda n: sum(i for i in range(1, n + 1) if i % c == 0)),
        "power": ((f"the numbers from 1 to {argument}, each to the power {c}",
                           f"i to the power {c} for i from 1 to {argument}"),
                  f"range(1, {argument} + 1)", f"i ** {c}", lambda n: sum(i ** c for i in range(1, n + 1))),
        "times": ((f"{c} times each number from 1 to {argument}", f"i times {c} for i from 1 to {argument}"),
                  f"range(1, {argument} + 1)", f"i * {c}", lambda n: sum(i * c for i in range(1, n + 1))),
        "from": ((f"the numbers from {c} to {argument}", f"all numbers between {c} and {argument}, both included"),
                 f"range({c}, {argument} + 1)", "i", lambda n: sum(range(c, n + 1))),
    }[kind]
    said = d.phrase(*said)
    query = ask(d, signature, d.phrase("sums", "adds up") + f" {said}")
    return program(query, signature, ["total = 0", f"for i in {start}:", f"    total += {term}", "return total"], truth,
                   lambda pick: [(n,) for n in (0, 1, 2, c - 1, c, c + 1, 2 * c - 1, 2 * c, 3 * c + 1)])


ROW_TEXTS, ROW_NUMBERS = ("name", "city", "item", "colour"), ("price", "age", "stock", "score")


@family(GROUP, "(wanted field, tested field, condition, constant)", LEARNABLE)
def rows(d):
    wanted, tested, kind, c = d.pick(ROW_TEXTS), d.pick(ROW_NUMBERS), d.pick(WITH_CONSTANT[:5]), d.number(2, 30)
    d.hold(wanted, tested, kind, c)
    called = f"{d.pick(('get', 'list', 'find'))}_{d.pick(('rows', 'data', 'items', 'values'))}"
    argument = d.pick(("rows", "table", "records"))
    phrases, code, truth = COMPARED[kind]
    said, signature = d.phrase(*phrases).format(c=c), f"{called}({argument})"
    query = ask(d, signature, d.phrase(f'returns "{wanted}" of all dicts in a list whose "{tested}" is {said}',
                                       f'returns the "{wanted}" of each row whose "{tested}" is {said}',
                                       f'lists "{wanted}" for the dicts in {argument} where "{tested}" is {said}'))
    return program(query, signature, [f'return [r["{wanted}"] for r in {argument} if r["{tested}"] {code[2:].format(c=c)}]'],
                   lambda records: [r[wanted] for r in records if truth(r[tested], c)],
                   lambda pick: [([{wanted: f"w{x}", tested: x} for x in numbers],)
                                 for numbers in ([c - 1, c, c + 1], [], [c + 1, c], [pick.randint(0, 60) for _ in range(4)])])
