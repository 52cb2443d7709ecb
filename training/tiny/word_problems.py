"""Word problems with worked steps.

Every step is of table size: a product of 2 to 9, or a two-digit number plus or minus tens or one digit. A held-out task has
numbers that were never together, but each of its steps is seen in training, in this family or in others.
"""
from .family import family, number
from .words import BOXES, NAMES, THINGS

GROUP = "word problems"


def plus(a, b):
    """a + b as it is worked: tens first, then ones."""
    if b < 10 or b % 10 == 0:
        return f"{a} + {b} = {a + b}"
    return f"{a} + {b} = {a + b - b % 10} + {b % 10} = {a + b}"


def minus(a, b):
    """a - b as it is worked: tens first, then ones."""
    if b < 10 or b % 10 == 0:
        return f"{a} - {b} = {a - b}"
    return f"{a} - {b} = {a - b + b % 10} - {b % 10} = {a - b}"


SIGNS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}


@family(GROUP, "(sign, both numbers)", "the steps that all the others are made of, all numbers equally often", weight=2)
def sums(d):
    sign = d.pick("++++++------*/")  # half of the sums and differences are refused below
    if sign == "+":
        a, b = d.number(2, 97), d.number(2, 97)
        d.need(a + b < 100)
        line, answer = plus(a, b), a + b
    elif sign == "-":
        a, b = d.number(3, 99), d.number(2, 98)
        d.need(b < a)
        line, answer = minus(a, b), a - b
    else:
        answer, b = d.number(2, 9), d.number(2, 9)
        a = answer if sign == "*" else answer * b
        answer = a * b if sign == "*" else answer
        line = f"{a} {sign} {b} = {answer}"
    d.hold(sign, a, b)
    who, exercise = d.pick(NAMES), d.phrase(f"{a} {sign} {b}", f"{a} {SIGNS[sign]} {b}")
    query = d.phrase(f"What is {exercise}?", f"Work out {exercise}.", f"How much is {exercise}?",
                     f"{who} asks: what is {exercise}?")
    return number(query, [f"{line}."], answer)


@family(GROUP, "(had, packs, in each)", "one product of the table, one sum below 100 worked by tens and ones")
def packs(d):
    n, each, had = d.number(2, 9), d.number(2, 9), d.number(2, 95)
    d.need(had + n * each < 100)
    d.hold(had, n, each)
    who, things, boxes = d.pick(NAMES), d.pick(THINGS), d.pick(BOXES)
    query = d.phrase(
        f"{who} has {had} {things} and buys {n} {boxes} of {each} {things}.",
        f"{who} has {had} {things}. Then {who} buys {n} {boxes} with {each} {things} in each.",
        f"{who} buys {n} {boxes} of {each} {things}. Before that {who} had {had} {things}.",
        f"There are {n} {boxes} with {each} {things} in each. {who} has {had} {things} and buys all the {boxes}.",
    ) + " " + d.phrase(
        f"How many {things} does {who} have now?",
        f"How many {things} are there in all?",
        f"How many {things} does {who} have in the end?",
    )
    product = n * each
    return number(query, [f"The {boxes} hold {n} * {each} = {product} {things}.",
                          f"Now {who} has {plus(had, product)} {things}."], had + product)


@family(GROUP, "(had, friends, to each)", "one product of the table, one difference below 100 worked by tens and ones")
def gifts(d):
    n, each, had = d.number(2, 9), d.number(2, 9), d.number(5, 99)
    d.need(had > n * each)
    d.hold(had, n, each)
    who, things = d.pick(NAMES), d.pick(THINGS)
    query = d.phrase(
        f"{who} has {had} {things} and gives {each} {things} to each of {n} friends.",
        f"{who} gives each of {n} friends {each} {things}. Before that {who} had {had} {things}.",
        f"Each of {n} friends gets {each} {things} from {who}, who had {had} {things}.",
        f"With {had} {things} at the start, {who} gives {each} {things} to each of {n} friends.",
    ) + " " + d.phrase(
        f"How many {things} are left?",
        f"How many {things} does {who} have now?",
        f"How many {things} does {who} keep?",
    )
    product = n * each
    return number(query, [f"{who} gives away {n} * {each} = {product} {things}.",
                          f"Now {who} has {minus(had, product)} {things}."], had - product)


@family(GROUP, "(boxes, in each, kept, friends)", "one product and one quotient of the table, one difference between them")
def sharing(d):
    n, each, k, share = (d.number(2, 9) for _ in range(4))
    product, shared = n * each, k * share
    kept = product - shared
    d.need(kept > 0)
    d.hold(n, each, kept, k)
    who, things, boxes = d.pick(NAMES), d.pick(THINGS), d.pick(BOXES)
    query = d.phrase(
        f"{who} has {n} {boxes} of {each} {things}, keeps {kept} {things} and shares the others equally among {k} friends.",
        f"{who} buys {n} {boxes} with {each} {things} in each and keeps {kept}. Then {k} friends share the others equally.",
        f"There are {each} {things} in each of {n} {boxes}. {who} keeps {kept} and gives {k} friends the others, "
        "the same to each.",
        f"{k} friends share {n} {boxes} of {each} {things} equally, but {who} keeps {kept} of them first.",
    ) + " " + d.phrase(
        f"How many {things} does each friend get?",
        f"How many {things} are there for each friend?",
        f"How many {things} does one friend have then?",
    )
    return number(query, [f"There are {n} * {each} = {product} {things}.", f"To share there are {minus(product, kept)} {things}.",
                          f"Each friend gets {shared} / {k} = {share} {things}."], share)


@family(GROUP, "(more or fewer, first, difference)", "two sums below 100 worked by tens and ones; the first result is used twice",
        risk="two chained two-digit sums, no product that fixes the digits", weight=2)
def together(d):
    more = d.pick((True, False))
    than, a = "more" if more else "fewer", d.number(4, 48)
    b = d.number(2, min(40, 99 - 2 * a) if more else a - 1)
    d.hold(than, a, b)
    (who, other), things = d.some(NAMES, 2), d.pick(THINGS)
    query = d.phrase(
        f"{who} has {a} {things}. {other} has {b} {things} {than} than {who}.",
        f"{other} has {b} {than} {things} than {who}. {who} has {a} {things}.",
        f"{who} finds {a} {things} and {other} finds {b} {than}.",
        f"There are {a} {things} in the bag of {who}. The bag of {other} holds {b} {than}.",
    ) + " " + d.phrase(
        f"How many {things} do they have together?",
        f"How many {things} do {who} and {other} have in all?",
        f"How many {things} is that in all?",
    )
    second = a + b if more else a - b
    return number(query, [f"{other} has {plus(a, b) if more else minus(a, b)} {things}.",
                          f"Together they have {plus(a, second)} {things}."], a + second)


@family(GROUP, "(how many, price, paid)", "one product of the table, one difference to tens worked by tens and ones")
def change(d):
    n, price = d.number(2, 9), d.number(2, 9)
    paid = 10 * d.number(1, 10)
    d.need(paid > n * price)
    d.hold(n, price, paid)
    who, things = d.pick(NAMES), d.pick(THINGS)
    query = d.phrase(
        f"{who} buys {n} {things} at {price} dollars each and pays with {paid} dollars.",
        f"{things.capitalize()} cost {price} dollars each. {who} buys {n} of them and pays with {paid} dollars.",
        f"{who} has {paid} dollars and buys {n} {things} for {price} dollars each.",
        f"{who} pays with {paid} dollars for {n} {things}. They cost {price} dollars each.",
    ) + " " + d.phrase(
        f"How much change does {who} get?",
        f"How many dollars does {who} get back?",
        "How many dollars are left?",
    )
    cost = n * price
    return number(query, [f"The {things} cost {n} * {price} = {cost} dollars.",
                          f"The change is {minus(paid, cost)} dollars."], paid - cost)


@family(GROUP, "(hours, speed) of both parts", "two products of the table, one sum below 100 worked by tens and ones",
        risk="four numbers whose order in the query varies")
def trip(d):
    h1, s1, h2, s2 = d.number(2, 6), d.number(2, 8), d.number(2, 6), d.number(2, 8)
    d.hold(h1, s1, h2, s2)
    who, goes = d.pick(NAMES), d.pick(("walks", "rides", "rows", "sails"))
    query = d.phrase(
        f"{who} {goes} {h1} hours at {s1} km an hour, then {h2} hours at {s2} km an hour.",
        f"First {who} {goes} at {s1} km an hour for {h1} hours, then at {s2} km an hour for {h2} hours.",
        f"{who} {goes} for {h1} hours at {s1} km an hour. After a rest {who} {goes} for {h2} hours at {s2} km an hour.",
    ) + " " + d.phrase(
        f"How many km does {who} go?",
        "How many km is that in all?",
        "How long is the whole way in km?",
    )
    first, second = h1 * s1, h2 * s2
    return number(query, [f"The first part is {h1} * {s1} = {first} km.", f"The second part is {h2} * {s2} = {second} km.",
                          f"The whole way is {plus(first, second)} km."], first + second)


@family(GROUP, "(around or area, length, width)", "a product of the table, or two sums below 100 of which the second doubles")
def garden(d):
    around = d.pick((True, True, False))
    most = 24 if around else 9
    length, width = d.number(2, most), d.number(2, most)
    d.hold("around" if around else "area", length, width)
    who, place = d.pick(NAMES), d.pick(("garden", "field", "yard", "park"))
    query = d.phrase(
        f"A {place} is {length} m long and {width} m wide.",
        f"{who} has a {place} of {length} m by {width} m.",
        f"The {place} of {who} is {length} m long. It is {width} m wide.",
        f"The sides of a {place} are {length} m and {width} m.",
    ) + " "
    if not around:
        query += d.phrase("What is its area in square m?", "How many square m is that?", "How large is it in square m?")
        return number(query, [f"The area is {length} * {width} = {length * width} square m."], length * width)
    query += d.phrase("How many m of fence go around it?", "How long is a fence around it in m?",
                      "How many m is it around the whole of it?")
    side = length + width
    return number(query, [f"Two sides are {plus(length, width)} m.", f"All four sides are {plus(side, side)} m."], 2 * side)


LEGS = {"hens": 2, "ducks": 2, "cats": 4, "cows": 4, "goats": 4, "ants": 6, "bees": 6, "spiders": 8}


@family(GROUP, "(animal, how many) of both kinds", "eight animals have their legs, two products of the table, one sum")
def legs(d):
    (kind, other), x, y = d.some(list(LEGS), 2), d.number(2, 7), d.number(2, 7)
    d.hold(kind, x, other, y)
    who = d.pick(NAMES)
    query = d.phrase(
        f"There are {x} {kind} and {y} {other} on a farm.",
        f"{who} has {x} {kind} and {y} {other}.",
        f"{who} sees {x} {kind}. Then {y} {other} come.",
        f"In the yard of {who} live {x} {kind}, and {y} {other} live in the garden.",
    ) + " " + d.phrase("How many legs do they have in all?", "How many legs is that together?", "How many legs are there?")
    first, second = x * LEGS[kind], y * LEGS[other]
    return number(query, [f"The {kind} have {x} * {LEGS[kind]} = {first} legs.",
                          f"The {other} have {y} * {LEGS[other]} = {second} legs.",
                          f"In all there are {plus(first, second)} legs."], first + second)


@family(GROUP, "(at the start, change at each of three stops)", "three times a two-digit number plus or minus one digit")
def bus(d):
    start = people = d.number(2, 98)
    steps = []
    for _ in range(3):
        step = d.number(2, 9) * d.pick((1, -1))
        steps.append(step if 1 <= people + step <= 99 else -step)
        people += steps[-1]
    d.hold(start, *steps)
    what = d.pick(("bus", "train", "boat"))
    one, two, three = (f"{abs(step)} {'get on' if step > 0 else 'get off'}" for step in steps)
    query = d.phrase(
        f"There are {start} people on a {what}. First {one}, then {two}, then {three}.",
        f"A {what} starts with {start} people. At three stops {one}, {two} and {three}.",
        f"A {what} has {start} people. At the first stop {one}, at the next {two} and at the last {three}.",
    ) + " " + d.phrase(
        f"How many people are on the {what} now?",
        "How many people are there in the end?",
        f"How many people does the {what} have then?",
    )
    lines, people = [], start
    for place, step in zip(("first", "second", "third"), steps):
        sign = "+" if step > 0 else "-"
        lines.append(f"After the {place} stop: {people} {sign} {abs(step)} = {people + step} people.")
        people += step
    return number(query, lines, people)


@family(GROUP, "(price, has, a week)", "one difference below 100 worked by tens and ones, one quotient of the table")
def saving(d):
    weeks, week, has = d.number(2, 9), d.number(2, 9), d.number(2, 95)
    d.need(has + weeks * week < 100)
    price = has + weeks * week
    d.hold(price, has, week)
    who, what = d.pick(NAMES), d.pick(("book", "ball", "game", "lamp", "coat", "bag"))
    query = d.phrase(
        f"{who} wants a {what} that costs {price} dollars, has {has} dollars and saves {week} dollars a week.",
        f"A {what} costs {price} dollars. {who} has {has} dollars and saves {week} dollars a week.",
        f"{who} has {has} dollars and saves {week} dollars a week for a {what} that costs {price} dollars.",
        f"{who} saves {week} dollars a week for a {what}. It costs {price} dollars and {who} has {has} dollars.",
    ) + " " + d.phrase(
        "How many weeks does it take?",
        f"After how many weeks can {who} buy it?",
        f"For how many weeks does {who} have to save?",
    )
    return number(query, [f"{who} still needs {minus(price, has)} dollars.",
                          f"That takes {weeks * week} / {week} = {weeks} weeks."], weeks)


@family(GROUP, "(hour, minute, lasts)", "minutes are multiples of 5, one sum below 100 worked by tens and ones, 60 taken off")
def clock(d):
    hour, minute, lasts = d.number(1, 11), 5 * d.number(1, 11), 5 * d.number(2, 8)
    d.hold(hour, minute, lasts)
    who, what = d.pick(NAMES), d.pick(("film", "lesson", "match", "show", "walk", "game"))
    start = f"{hour}:{minute:02}"
    query = d.phrase(
        f"A {what} starts at {start} and lasts {lasts} minutes.",
        f"{who} sees a {what} of {lasts} minutes. It starts at {start}.",
        f"The {what} of {who} lasts {lasts} minutes and starts at {start}.",
        f"At {start} {who} starts a {what} of {lasts} minutes.",
    ) + " " + d.phrase("When does it end?", "At what time is it over?", "What time is it in the end?")
    total = minute + lasts
    lines = [f"{plus(minute, lasts)} minutes after {hour}:00."]
    if total >= 60:
        lines.append(f"{total} - 60 = {total - 60} minutes after {hour + 1}:00.")
    end = f"{hour + total // 60}:{total % 60:02}"
    answer = "\n".join(lines + [f"The answer is {end}."])
    return query, answer, "regex", lambda: rf"The answer is {end}\.\s*$"


@family(GROUP, "the three numbers", "sums below 40 worked by tens and ones, a third of a number up to 36",
        risk="a sum of three, whose quotient must come out even", weight=2)
def average(d):
    total = 3 * d.number(4, 12)
    a = d.number(1, min(15, total - 2))
    b = d.number(1, min(15, total - a - 1))
    c = total - a - b
    d.hold(a, b, c)
    who, things = d.pick(NAMES), d.pick(THINGS)
    query = d.phrase(
        f"{who} finds {a} {things} on Monday, {b} on Tuesday and {c} on Friday.",
        f"On Monday {who} sells {a} {things}, on Tuesday {b} and on Friday {c}.",
        f"In three days {who} makes {a}, {b} and {c} {things}.",
    ) + " " + d.phrase("How many is that a day on average?", f"What is the average of {things} a day?",
                       "What is the average for one day?")
    return number(query, [f"After two days: {plus(a, b)} {things}.", f"After three days: {plus(a + b, c)} {things}.",
                          f"The average is {total} / 3 = {total // 3} {things}."], total // 3)


PARTS = {"half": 2, "a third": 3, "a quarter": 4, "a fifth": 5}


@family(GROUP, "(part, of how many, then more)", "one quotient of the table, a difference and a sum worked by tens and ones",
        risk="three steps, each on the one before")
def part(d):
    name = d.pick(list(PARTS))
    k = PARTS[name]
    n, more = k * d.number(2, 12), d.number(2, 40)
    d.hold(name, n, more)
    (who, other), things = d.some(NAMES, 2), d.pick(THINGS)
    query = d.phrase(
        f"{who} has {n} {things} and gives {name} of them to {other}. Then {who} finds {more} {things}.",
        f"{who} had {n} {things}, gave {name} of them to {other} and then found {more} {things}.",
        f"{other} gets {name} of the {n} {things} that {who} has. After that {who} finds {more} {things}.",
    ) + " " + d.phrase(
        f"How many {things} does {who} have now?",
        f"How many {things} does {who} have in the end?",
        f"How many {things} does {who} have then?",
    )
    given = n // k
    return number(query, [f"{other} gets {n} / {k} = {given} {things}.", f"{who} keeps {minus(n, given)} {things}.",
                          f"Now {who} has {plus(n - given, more)} {things}."], n - given + more)


@family(GROUP, "(people, times as many, for the first)", "one quotient and one product of the table")
def recipe(d):
    people, times, needs = d.number(2, 8), d.number(2, 8), d.number(2, 9)
    d.hold(people, times, needs)
    who, what = d.pick(NAMES), d.pick(("eggs", "apples", "plums", "nuts", "cups of milk"))
    guests = people * times
    query = d.phrase(
        f"A cake for {people} people needs {needs} {what}. {who} bakes for {guests} people.",
        f"{who} bakes for {guests} people. A cake for {people} people needs {needs} {what}.",
        f"For {people} people a soup needs {needs} {what}. {who} cooks it for {guests} people.",
        f"{who} cooks a soup for {guests} people. It needs {needs} {what} for {people} people.",
    ) + " " + d.phrase(f"How many {what} does {who} need?", f"How many {what} is that?", f"How many {what} are needed?")
    return number(query, [f"That is {guests} / {people} = {times} times as many people.",
                          f"{who} needs {times} * {needs} = {times * needs} {what}."], times * needs)
