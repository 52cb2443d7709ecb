"""The answers of the tiny model's word problems, from the query's text alone: nothing of the generator is used."""
import datetime
import functools
import re

BOXES = "bags|boxes|packs|jars"
LEGS = {"hens": 2, "ducks": 2, "cats": 4, "cows": 4, "goats": 4, "ants": 6, "bees": 6, "spiders": 8}


def one(pattern, query):
    """The number that the pattern's only match in the query has."""
    found = [[int(group) for group in match.groups() if group] for match in re.finditer(pattern, query)]
    if len(found) != 1 or len(found[0]) != 1:
        raise ValueError(f"{pattern!r} found {found} in {query!r}, wanted one number")
    return found[0][0]


def numbers(query):
    return [int(found) for found in re.findall(r"\d+", query)]


def sums(query):
    a, sign, b = re.search(r"(\d+) ([-+*/]|plus|minus|times|divided by) (\d+)", query).groups()
    a, b = int(a), int(b)
    return {"+": a + b, "p": a + b, "-": a - b, "m": a - b, "*": a * b, "t": a * b, "/": a // b, "d": a // b}[sign[0]]


def packs(query):
    return one(r"\bha[sd] (\d+)", query) + one(rf"(\d+) (?:{BOXES})", query) * one(r"(?:of|with) (\d+)", query)


def gifts(query):
    given = one(r"(?:gives|gets) (\d+)|friends (\d+)", query)
    return one(r"(?:ha[sd]|With) (\d+)", query) - one(r"(\d+) friends", query) * given


def sharing(query):
    each = one(rf"(?:of|with|are) (\d+) (?!{BOXES}|friends)", query)
    shared = one(rf"(\d+) (?:{BOXES})", query) * each - one(r"keeps (\d+)", query)
    shares, rest = divmod(shared, one(r"(\d+) friends", query))
    if rest:
        raise ValueError(f"{query!r} does not come out even")
    return shares


def together(query):
    first = one(r"(?:has|finds|There are) (\d+) (?!more|fewer)\w+\b(?! more| fewer)", query)
    difference = one(r"(\d+) (?:\w+ )?(?:more|fewer)\b", query)
    return first + (first + difference if "more" in query else first - difference)


def change(query):
    cost = one(r"buys (\d+)|dollars for (\d+)", query) * one(r"(\d+) dollars each", query)
    return one(r"(?:pays with|has) (\d+) dollars", query) - cost


def trip(query):
    hours, speeds = re.findall(r"(\d+) hours", query), re.findall(r"(\d+) km an hour", query)
    if (len(hours), len(speeds)) != (2, 2):
        raise ValueError(f"{query!r} has not two parts")
    return sum(int(hour) * int(speed) for hour, speed in zip(hours, speeds))


def garden(query):
    length, width = numbers(query)
    return length * width if "square" in query else 2 * (length + width)


def legs(query):
    return sum(int(count) * LEGS[animal] for count, animal in re.findall(rf"(\d+) ({'|'.join(LEGS)})", query))


def bus(query):
    steps = re.findall(r"(\d+) get (on|off)", query)
    return one(r"(\d+) people", query) + sum(int(count) if way == "on" else -int(count) for count, way in steps)


def saving(query):
    needed = one(r"costs (\d+) dollars", query) - one(r"has (\d+) dollars", query)
    weeks, rest = divmod(needed, one(r"saves (\d+) dollars", query))
    if rest:
        raise ValueError(f"{query!r} does not come out even")
    return weeks


def clock(query):
    hour, minute = map(int, re.search(r"(\d+):(\d\d)", query).groups())
    lasts = datetime.timedelta(minutes=one(r"(\d+) minutes", query))
    end = datetime.datetime(2000, 1, 1, hour, minute) + lasts
    return f"{end.hour}:{end.minute:02}"


def average(query):
    first, second, third = numbers(query)
    mean, rest = divmod(first + second + third, 3)
    if rest:
        raise ValueError(f"{query!r} does not come out even")
    return mean


def part(query):
    whole = numbers(query)[0]
    share = {"half": 2, "third": 3, "quarter": 4, "fifth": 5}[re.search("half|third|quarter|fifth", query)[0]]
    return whole - whole // share + one(r"(?:finds|found) (\d+)", query)


def recipe(query):
    guests = one(r"(?:bakes|cooks it|cooks a soup) for (\d+) people", query)
    people = re.findall(r"(\d+) people", query)
    people.remove(str(guests))
    return guests // int(people[0]) * one(r"needs (\d+)", query)


ANSWERS = {check.__name__: check for check in (sums, packs, gifts, sharing, together, change, trip, garden, legs, bus, saving,
                                               clock, average, part, recipe)}


CHAIN = re.compile(r"\d+(?: [-+*/] \d+)?(?: = \d+(?: [-+*/] \d+)?)+")


def chains(response):
    """The equations of an answer's steps, each as its sides: [("48", "+", "16"), ("58", "+", "6"), ("64", "", "")]."""
    return map(sides, CHAIN.findall(response))


@functools.lru_cache(maxsize=None)
def sides(chain):
    return [re.fullmatch(r"(\d+)(?: ([-+*/]) (\d+))?", text).groups(default="") for text in chain.split(" = ")]


# Numbers that steps may start from though the query does not have them as digits.
KNOWN = {"clock": {60}, "average": {3}, "legs": set(LEGS.values()), "part": {2, 3, 4, 5}}


def worth(side):
    a, sign, b = side
    if not sign:
        return int(a)
    if sign == "/":
        return int(a) / int(b)
    return {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]


def facts(chain):
    """What has to be known by heart for a chain: (sign, left, right) of each step; tens before ones."""
    for (a, sign, b), (following, next_sign, _) in zip(chain, chain[1:]):
        if next_sign:  # a + b = (a + tens) + ones
            yield sign, int(a), abs(int(following) - int(a))
        else:
            yield sign, int(a), int(b)
