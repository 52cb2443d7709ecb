"""Small structured data, rewritten: the answer is a copy in another form, in another order, or of a part."""
import json

from .family import exactly, family
from .words import BOXES, CITIES, COLOURS, JOBS, MONTHS, NAMES, THINGS

GROUP = "rewriting"

# Fields with their values: texts, and numbers as (low, high).
FIELDS = {"name": NAMES, "city": CITIES, "job": JOBS, "item": THINGS, "colour": COLOURS, "box": BOXES, "age": (10, 79),
          "price": (2, 60), "stock": (2, 99)}
SCHEMAS = (("name", "city", "age"), ("name", "job", "age"), ("item", "colour", "price"), ("item", "box", "stock"),
           ("name", "colour", "age"), ("item", "city", "stock"))


def value(d, field):
    values = FIELDS[field]
    return d.number(*values) if isinstance(values, tuple) else d.pick(values)


def record(d):
    """A record's fields in random order, with two texts and a number; holds the pair of texts."""
    schema = d.pick(SCHEMAS)
    values = {field: value(d, field) for field in schema}
    d.hold(schema[1], values[schema[0]], values[schema[1]])
    return {field: values[field] for field in d.some(schema, 3)}


def task(d, ask, data, answer):
    """ask is an imperative without its full stop. Data of several lines, or JSON, stand on lines of their own."""
    polite = "Please " + ask[0].lower() + ask[1:]
    between = "\n" if "\n" in data or "{" in data else " "
    query = d.phrase(f"{ask}:{between}{data}", f"{polite}:{between}{data}", f"{data}\n{ask}.", f"{data}\n{polite}.")
    return exactly(query, answer)


RECORD = "(second field, both texts of the record)"
COPIED = "values are copied into a fixed frame"


@family(GROUP, RECORD, COPIED)
def csv_to_json(d):
    fields = record(d)
    data = ",".join(fields) + "\n" + ",".join(map(str, fields.values()))
    ask = d.phrase("Turn this CSV into JSON", "Write this CSV as a JSON object", "Convert this CSV to JSON",
                   "Give the JSON for this CSV")
    return task(d, ask, data, json.dumps(fields))


@family(GROUP, RECORD, COPIED)
def json_to_yaml(d):
    fields = record(d)
    ask = d.phrase("Turn this JSON into YAML", "Write this JSON as YAML lines", "Convert this JSON to YAML",
                   "Give the YAML for this JSON")
    return task(d, ask, json.dumps(fields), "\n".join(f"{key}: {text}" for key, text in fields.items()))


@family(GROUP, RECORD, COPIED)
def pairs_to_json(d):
    fields, between = record(d), d.phrase("; ", "&", ", ")
    data = between.join(f"{key}={text}" for key, text in fields.items())
    ask = d.phrase("Turn these pairs into JSON", "Write the pairs as a JSON object", "Convert these pairs to JSON",
                   "Give the JSON for these pairs")
    return task(d, ask, data, json.dumps(fields))


@family(GROUP, RECORD, COPIED)
def tags(d):
    fields = record(d)
    data = d.phrase(", ", "; ").join(f"{key}: {text}" for key, text in fields.items())
    ask = d.phrase("Write each value in a tag of its key", "Turn this into XML tags", "Put these into tags",
                   "Convert this to XML tags")
    return task(d, ask, data, "\n".join(f"<{key}>{text}</{key}>" for key, text in fields.items()))


# What a key can be renamed to.
RENAMED = {"name": ("user", "label"), "city": ("town", "place"), "job": ("work", "role"), "item": ("thing", "product"),
           "colour": ("shade", "paint"), "box": ("holder", "pack"), "age": ("years", "size"), "price": ("cost", "value"),
           "stock": ("count", "number")}


@family(GROUP, "(old key, new key, its value)", COPIED + ", but for one key")
def rename_key(d):
    fields = {field: value(d, field) for field in d.some(d.pick(SCHEMAS), 3)}
    old = d.pick(list(fields))
    new = d.pick(RENAMED[old])
    d.hold(old, new, fields[old])
    ask = d.phrase(f'Rename the key "{old}" to "{new}"', f'Change the key "{old}" to "{new}"',
                   f'Replace the key "{old}" by "{new}" in this JSON')
    return task(d, ask, json.dumps(fields), json.dumps({new if key == old else key: x for key, x in fields.items()}))


@family(GROUP, "(order, the set of numbers)", "the tens digits differ, so one digit decides; four numbers at most",
        risk="a choice among all that are left for every number", weight=2)
def sort_numbers(d):
    up = d.pick((True, False))
    # Different tens digits.
    numbers = [10 * tens + d.number(0, 9) for tens in d.some(range(1, 10), d.number(3, 4))]
    d.hold("up" if up else "down", *sorted(numbers))
    ask = d.phrase("Sort from small to large", "Sort in ascending order", "Put in order, the smallest first") if up else \
        d.phrase("Sort from large to small", "Sort in descending order", "Put in order, the largest first")
    return task(d, ask, ", ".join(map(str, numbers)), ", ".join(map(str, sorted(numbers, reverse=not up))))


@family(GROUP, "(order, the set of names)", "24 names with a first letter each: an order of 24 tokens to learn", weight=2,
        risk="a choice among all that are left for every name")
def sort_names(d):
    up, names = d.pick((True, False)), d.some(NAMES, d.number(3, 4))
    d.hold("up" if up else "down", *sorted(names))
    ask = d.phrase("Sort from A to Z", "Sort these names by alphabet", "Put the names in order, A first") if up else \
        d.phrase("Sort from Z to A", "Sort these names by alphabet, Z first", "Put the names in order, Z first")
    return task(d, ask, ", ".join(names), ", ".join(sorted(names, reverse=not up)))


@family(GROUP, "(first, last of the list)", "copied backwards, five words at most")
def reverse_list(d):
    words = d.some(d.pick((NAMES, THINGS)), d.number(3, 5))
    d.hold(words[0], words[-1])
    ask = d.phrase("Reverse this list", "Write the list backwards", "Give this list in reverse order",
                   "Turn this list around, the last first")
    return task(d, ask, ", ".join(words), ", ".join(words[::-1]))


@family(GROUP, "(form, first, second of the list)", COPIED)
def list_form(d):
    form, words = d.pick(("numbered", "bullets", "array", "lines")), d.some(d.pick((NAMES, THINGS)), d.number(3, 4))
    d.hold(form, words[0], words[1])
    ask, answer = {
        "numbered": (("Number this list", "Write this as a numbered list"),
                     "\n".join(f"{i}. {word}" for i, word in enumerate(words, 1))),
        "bullets": (("Write this as a bullet list", "Give each item of this list a bullet"),
                    "\n".join(f"- {w}" for w in words)),
        "array": (("Write this as a JSON array", "Turn this list into a JSON array"), json.dumps(words)),
        "lines": (("Write one item of this on each line", "Put each item of this list on its own line"),
                  "\n".join(words)),
    }[form]
    return task(d, d.phrase(*ask), ", ".join(words), answer)


@family(GROUP, "(wanted value, first line's subject)", "lines are copied where one word matches",
        risk="how many lines match is not known ahead")
def filter_lines(d):
    subject, field = d.pick((("name", "city"), ("name", "job"), ("item", "colour"), ("item", "box")))
    wanted, *others = d.some(FIELDS[field], 4)
    count = d.number(3, 4)
    matching = d.some(range(count), d.number(1, 2))
    lines = [(who, wanted if i in matching else d.pick(others)) for i, who in enumerate(d.some(FIELDS[subject], count))]
    d.hold(wanted, lines[0][0])
    between = d.phrase(", ", ": ")
    ask = d.phrase(f'Keep the lines with "{wanted}"', f"Keep the lines of {field} {wanted}",
                   f"Give only the lines with the {field} {wanted}", f"Remove all lines but those with {wanted}")
    return task(d, ask, "\n".join(map(between.join, lines)),
                "\n".join(between.join(line) for line in lines if line[1] == wanted))


@family(GROUP, "subjects of both lines", "two of three columns are copied")
def columns(d):
    schema = d.pick(SCHEMAS)
    order = d.some(schema, 3)
    first, second = d.some(FIELDS[schema[0]], 2)
    d.hold(first, second)
    kept = sorted(d.some(order, 2), key=order.index)
    lines = [{field: subject if field == schema[0] else value(d, field) for field in order} for subject in (first, second)]
    one, two = kept
    ask = d.phrase(f"Keep the columns {one} and {two}", f"Write only {one} and {two} of this table",
                   f"Give {one} and {two} of this CSV", f"Cut this CSV to {one} and {two}")
    return task(d, ask, "\n".join([",".join(order)] + [",".join(map(str, line.values())) for line in lines]),
                "\n".join([",".join(kept)] + [",".join(str(line[field]) for field in kept) for line in lines]))


SENTENCES = {
    ("name", "city", "age"): "{name} is {age} years old and lives in {city}.",
    ("name", "job", "age"): "{name} works as a {job} and is {age} years old.",
    ("item", "colour", "price"): "The {item} are {colour} and cost {price} dollars.",
    ("item", "box", "stock"): "There are {stock} {box} of {item}.",
}


@family(GROUP, "(subject, second text) of the first line", COPIED)
def sentences(d):
    schema = d.pick(list(SENTENCES))
    order = d.some(schema, 3)
    subjects = d.some(FIELDS[schema[0]], d.number(1, 2))
    lines = [{field: subject if field == schema[0] else value(d, field) for field in order} for subject in subjects]
    d.hold(lines[0][schema[0]], lines[0][schema[1]])
    ask = d.phrase("Write a sentence for each row", "Turn the rows into sentences", "Say this table in sentences")
    table = "\n".join(" | ".join(map(str, cells)) for cells in [order] + [line.values() for line in lines])
    return task(d, ask, table, "\n".join(SENTENCES[schema].format(**line) for line in lines))


DATE_FORMS = {
    "iso": (("YYYY-MM-DD", "ISO form"), lambda y, m, d: f"{y}-{m:02}-{d:02}"),
    "slashes": (("DD/MM/YYYY", "digits with slashes"), lambda y, m, d: f"{d:02}/{m:02}/{y}"),
    "day first": (("words, day first", "day, month name and year"), lambda y, m, d: f"{d} {MONTHS[m - 1]} {y}"),
    "month first": (("words, month first", "month name, day and year"), lambda y, m, d: f"{MONTHS[m - 1]} {d}, {y}"),
}


@family(GROUP, "(form, day, month)", "twelve months have their number; digits are copied")
def dates(d):
    have, wanted = d.some(list(DATE_FORMS), 2)
    year, month, day = d.number(1980, 2039), d.number(1, 12), d.number(1, 28)
    d.hold(wanted, day, month)
    date, form = DATE_FORMS[have][1](year, month, day), d.phrase(*DATE_FORMS[wanted][0])
    query = d.phrase(f"Write the date {date} as {form}.", f"Date {date}: give it as {form}.", f"Change {date} to {form}.",
                     f"Please write {date} as {form}.")
    return exactly(query, DATE_FORMS[wanted][1](year, month, day))


CASE_WORDS = "total price item count user name city list data score first last".split()
CASES = {
    "snake_case": "_".join,
    "camelCase": lambda words: words[0] + "".join(word.capitalize() for word in words[1:]),
    "PascalCase": lambda words: "".join(word.capitalize() for word in words),
    "kebab-case": "-".join,
}


@family(GROUP, "(wanted case, first word, second word)", "twelve words in two spellings each")
def case(d):
    have, wanted = d.some(list(CASES), 2)
    words = d.some(CASE_WORDS, d.number(2, 3))
    d.hold(wanted, words[0], words[1])
    text = CASES[have](words)
    query = d.phrase(f"Write {text} in {wanted}.", f"Change {text} to {wanted}.", f"What is {text} in {wanted}?",
                     f"Rename {text}: I use {wanted}.", f"Please write {text} in {wanted}.", f"Please change {text} to {wanted}.")
    return exactly(query, CASES[wanted](words))


@family(GROUP, "the words with their counts", "counts up to 4 of at most three words", weight=2,
        risk="counting takes a look at all places at once")
def tally(d):
    kinds = d.some(d.pick((COLOURS, CITIES, THINGS)), d.number(2, 3))
    counts = [d.number(1, 4 if len(kinds) == 2 else 2) for _ in kinds]
    words = [kind for kind, count in zip(kinds, counts) for _ in range(count)]
    words = d.some(words, len(words))
    order = list(dict.fromkeys(words))
    d.hold(*sorted(zip(kinds, counts)))
    ask = d.phrase("Count each word", "Count how many of each there are", "Tell how often each word is in this list")
    return task(d, ask, ", ".join(words), "\n".join(f"{kind}: {words.count(kind)}" for kind in order))
