"""What the tiny model's Python functions shall do, from the query's text alone: nothing of the generator is used."""
import re
from fractions import Fraction
from random import Random

NUMBER = r"(-?\d+)"
CONDITIONS = (
    (rf"(?:above|greater than) {NUMBER}", lambda x, c: x > c),
    (rf"(?:below|less than) {NUMBER}", lambda x, c: x < c),
    (rf"at least {NUMBER}|{NUMBER} or more", lambda x, c: x >= c),
    (rf"at most {NUMBER}|{NUMBER} or less", lambda x, c: x <= c),
    (rf"(?:other than|not equal to) {NUMBER}", lambda x, c: x != c),
    (rf"(?:divisible by|multiples of) {NUMBER}", lambda x, c: x % c == 0),
    (r"\beven()\b", lambda x, _: not x & 1),
    (r"\bodd()\b", lambda x, _: bool(x & 1)),
    (r"\b(?:positive|above zero)()\b", lambda x, _: x > 0),
    (r"\b(?:negative|below zero)()\b", lambda x, _: x < 0),
)


def signature(query):
    return re.search(r"(\w+)\((\w+)\)", query).groups()


def texts(query):
    return re.findall(r'"(\w+)"', query)


def condition(query):
    """The one condition that the query states, as a function of x."""
    query = query[query.index(")"):]  # names may contain anything
    found = [(match, holds) for pattern, holds in CONDITIONS for match in re.finditer(pattern, query)]
    if len(found) != 1:
        raise ValueError(f"{query!r} has {len(found)} conditions")
    match, holds = found[0]
    constant = next((int(group) for group in match.groups() if group), None)
    return lambda x: holds(x, constant)


def count_if(query):
    holds = condition(query)
    return lambda values: len([x for x in values if holds(x)])


def total_if(query):
    holds = condition(query)
    return lambda values: sum([x for x in values if holds(x)])


def keep_if(query):
    holds, dropped = condition(query), re.search("drops|without|removes", query) is not None
    return lambda values: [x for x in values if bool(holds(x)) is not dropped]


def any_or_all(query):
    holds, every = condition(query), re.search(r"\ball\b", query) is not None
    if every:
        return lambda values: not [x for x in values if not holds(x)]
    return lambda values: [x for x in values if holds(x)] != []


def find_one(query):
    holds = condition(query)
    default = {"None": None, "-1": -1, "0": 0}[re.search(r"(?:or|returns) (None|-1|0)\b", query)[1]]
    at = -1 if re.search("the last of", query) else 0
    return lambda values: ([x for x in values if holds(x)] or [default])[at]


def change_each(query):
    verb, constant = re.search(r"(adds|subtracts|multiplies|divides)\D*(\d+)", query).groups()
    c = int(constant)
    return {"adds": lambda values: [x + c for x in values], "subtracts": lambda values: [x - c for x in values],
            "multiplies": lambda values: [x * c for x in values],
            "divides": lambda values: [int((x - x % c) / c) for x in values]}[verb]


def formula(query):
    steps = re.findall(r"(adds|subtracts|multiplies by) (\d+)", query)
    if len(steps) != 2:
        raise ValueError(f"{query!r} has not two steps")

    def run(x):
        for verb, constant in steps:
            x = {"a": x + int(constant), "s": x - int(constant), "m": x * int(constant)}[verb[0]]
        return x
    return run


def clamp(query):
    low, high = map(int, re.search(r"(?:from|at least|between) (\d+) (?:to|and at most|and) (\d+)", query).groups())
    return lambda x: sorted((low, x, high))[1]


def label(query):
    top, high = re.search(r'"(\w+)" (?:\w+ )*above (\d+)', query).groups()
    bottom, low = re.search(r'"(\w+)" (?:\w+ )*below (\d+)', query).groups()
    middle = re.search(r'"(\w+)"(?: otherwise| for the others|, but)', query)[1]
    return lambda x: {(True, False): top, (False, True): bottom}.get((x > int(high), x < int(low)), middle)


SIZES = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800, "centimetres": 1, "metres": 100,
         "kilometres": 100000, "inches": 1, "feet": 12, "yards": 36, "cents": 1, "dollars": 100}


def convert(query):
    asked = re.search(r"(?:converts|turns) (\w+) (?:to|into) (?:whole )?(\w+)\.", query)
    target, source = asked.groups()[::-1] if asked else re.search(
        r"how many (?:whole )?(\w+) there are in \w+ (\w+)\.", query).groups()
    sizes = SIZES
    if "years" in (source, target):
        sizes = {"years": 624, "months": 52, "weeks": 12}  # 12 months, or 52 weeks
    ratio = Fraction(sizes[source], sizes[target])
    if (ratio < 1) != ("whole" in query):
        raise ValueError(f"{query!r}: whole units where there are parts, and only there")
    return lambda x: int(x * ratio)


def letters(query):
    quoted = texts(query)
    first = quoted[0]
    text = query[query.index(")"):]
    if re.search("replaces each", text):
        return lambda line: "".join(quoted[1] if letter == first else letter for letter in line)
    if re.search('for every', text):
        return lambda line: "".join(first if letter == quoted[1] else letter for letter in line)
    if re.search("removes|without", text):
        return lambda line: "".join(letter for letter in line if letter != first)
    if re.search("counts|how many times", text):
        return lambda line: len([letter for letter in line if letter == first])
    if re.search("starts with|the first letter of", text):
        return lambda line: line[:1] == first
    if re.search("ends with|the last letter of", text):
        return lambda line: line[-1:] == first
    if re.search("splits|the parts of", text):
        return lambda line: re.split(first, line)
    if re.search("is in|contains", text):
        return lambda line: line.find(first) >= 0
    raise ValueError(f"{query!r} asks for nothing known")


def pick_words(query):
    if texts(query):
        letter, place = texts(query)[0], 0 if re.search("start with|first letter", query) else -1
        return lambda words: [w for w in words if w and w[place] == letter]
    kind, length = re.search(r"(longer|shorter|more|less|exactly|length)\D* (\d+)", query).groups()
    wanted = {"longer": range(int(length) + 1, 99), "more": range(int(length) + 1, 99), "shorter": range(int(length)),
              "less": range(int(length)), "exactly": (int(length),), "length": (int(length),)}[kind]
    return lambda words: [w for w in words if len(w) in wanted]


def slices(query):
    text = query[query.index(")"):]
    c = int(re.search(r" (\d+)\b", text)[1])
    if re.search("moved to the end|put last", text):
        return lambda v: [x for i, x in enumerate(v) if i >= c] + [x for i, x in enumerate(v) if i < c]
    if re.search("one element in|one in", text):
        return lambda v: [x for i, x in enumerate(v) if i % c == 0]
    if re.search("without its first|after the first", text):
        return lambda v: [x for i, x in enumerate(v) if i >= c]
    if re.search("without its last|before the last", text):
        return lambda v: [x for i, x in enumerate(v) if i < len(v) - c]
    if re.search("reverse", text):
        return lambda v: list(reversed([x for i, x in enumerate(v) if i < c]))
    if re.search("the last|at the end of", text):
        return lambda v: [x for i, x in enumerate(v) if i >= len(v) - c]
    return lambda v: [x for i, x in enumerate(v) if i < c]


def series(query):
    text = query[query.index(")"):]
    c = next(int(found) for found in re.findall(r"\d+", text.replace("from 1 to", "")))
    if re.search("multiples|divisible", text):
        return lambda n: sum(i for i in range(n + 1) if i % c == 0)
    if re.search("to the power", text):
        return lambda n: sum(pow(i, c) for i in range(n + 1))
    if re.search("times", text):
        return lambda n: c * n * (n + 1) // 2
    return lambda n: sum(i for i in range(n + 1) if i >= c)


def rows(query):
    wanted, tested = texts(query)
    holds = condition(query)
    return lambda records: [record[wanted] for record in records if holds(record[tested])]


BEHAVIOUR = {check.__name__: check for check in (
    count_if, total_if, keep_if, any_or_all, find_one, change_each, formula, clamp, label, convert, letters, pick_words, slices,
    series, rows)}


def inputs(family, query):
    """Arguments to try: small numbers all of them, lists and texts by chance."""
    random = Random(f"inputs {query}")
    if family in ("formula", "clamp", "label", "convert", "series"):
        return list(range(0, 110)) + [1000] + ([7199, 7200, 100000] if family == "convert" else [])
    if family == "letters":
        return ["".join(random.choices("abdeilmnorst", k=length)) for length in (0, 1, 3, 9, 40, 200)] + texts(query)
    if family == "pick_words":
        return [["".join(random.choices("abdeilmnorst", k=random.randint(0, 15))) for _ in range(200)]]
    if family == "rows":
        wanted, tested = texts(query)
        return [[{wanted: str(x), tested: x} for x in random.sample(range(-5, 60), 65)]]
    if family == "slices":
        return [list(range(length)) for length in range(40)]
    return [list(range(-5, 40)), [], [4], [7]] + [random.choices(range(-50, 80), k=random.randint(1, 9)) for _ in range(12)]
