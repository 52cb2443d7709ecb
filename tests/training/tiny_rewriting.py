"""The answers of the tiny model's rewriting tasks, from the query's text alone: nothing of the generator is used."""
import datetime
import re
from collections import Counter

VERBS = "Turn|Write|Convert|Give|Put|Rename|Change|Replace|Sort|Reverse|Number|Keep|Remove|Cut|Say|Count|Tell"


def halves(query):
    """What is asked, and the data."""
    if re.match(rf"(?:Please )?(?:{VERBS})\b", query, re.IGNORECASE):
        ask, data = query.split(":", 1)
        return ask, data.strip()
    data, ask = query.rsplit("\n", 1)
    return ask, data


def quoted(text):
    return text if text.isdecimal() else f'"{text}"'


def as_json(pairs):
    return "{" + ", ".join(f'"{key}": {quoted(text)}' for key, text in pairs) + "}"


def from_json(text):
    return [(key, string or digits) for key, string, digits in re.findall(r'"(\w+)": (?:"(\w+)"|(\d+))', text)]


def csv_to_json(query):
    header, line = halves(query)[1].split("\n")
    return as_json(zip(header.split(","), line.split(",")))


def json_to_yaml(query):
    return "\n".join(f"{key}: {text}" for key, text in from_json(halves(query)[1]))


def pairs_to_json(query):
    return as_json(re.findall(r"(\w+)=(\w+)", query))


def tags(query):
    return "\n".join(f"<{key}>{text}</{key}>" for key, text in re.findall(r"(\w+): (\w+)", halves(query)[1]))


def rename_key(query):
    ask, data = halves(query)
    old, new = re.findall(r'"(\w+)"', ask)
    return data.replace(f'"{old}":', f'"{new}":')


def sort_numbers(query):
    ask, data = halves(query)
    down = any(word in ask for word in ("from large", "descending", "largest"))
    return ", ".join(sorted(data.split(", "), key=int, reverse=down))


def sort_names(query):
    ask, data = halves(query)
    return ", ".join(sorted(data.split(", "), reverse="Z to A" in ask or "Z first" in ask))


def reverse_list(query):
    return ", ".join(reversed(halves(query)[1].split(", ")))


def list_form(query):
    ask, data = halves(query)
    words = data.split(", ")
    if "umber" in ask:
        return "\n".join(f"{place + 1}. {word}" for place, word in enumerate(words))
    if "bullet" in ask:
        return "- " + "\n- ".join(words)
    if "JSON" in ask:
        return '["' + '", "'.join(words) + '"]'
    return "\n".join(words)


def filter_lines(query):
    ask, data = halves(query)
    wanted = re.search(r"(\w+)\W*$", ask)[1]
    return "\n".join(line for line in data.split("\n") if re.split(", |: ", line)[1] == wanted)


def columns(query):
    ask, data = halves(query)
    table = [line.split(",") for line in data.split("\n")]
    kept = [place for place, field in enumerate(table[0]) if re.search(rf"\b{field}\b", ask)]
    if len(kept) != 2:
        raise ValueError(f"{query!r} does not name two columns")
    return "\n".join(",".join(line[place] for place in kept) for line in table)


def sentences(query):
    header, *lines = [line.split(" | ") for line in halves(query)[1].split("\n")]
    told = []
    for line in lines:
        row = dict(zip(header, line))
        if "city" in row:
            told.append(f"{row['name']} is {row['age']} years old and lives in {row['city']}.")
        elif "job" in row:
            told.append(f"{row['name']} works as a {row['job']} and is {row['age']} years old.")
        elif "colour" in row:
            told.append(f"The {row['item']} are {row['colour']} and cost {row['price']} dollars.")
        else:
            told.append(f"There are {row['stock']} {row['box']} of {row['item']}.")
    return "\n".join(told)


def read_date(query):
    for pattern, form in ((r"\d{4}-\d\d-\d\d", "%Y-%m-%d"), (r"\d\d/\d\d/\d{4}", "%d/%m/%Y"),
                          (r"\d+ [A-Z][a-z]+ \d{4}", "%d %B %Y"), (r"[A-Z][a-z]+ \d+, \d{4}", "%B %d, %Y")):
        found = re.search(pattern, query)
        if found:
            return datetime.datetime.strptime(found[0], form)
    raise ValueError(f"{query!r} has no date")


def dates(query):
    date = read_date(query)
    month = date.strftime("%B")
    for words, answer in ((("YYYY-MM-DD", "ISO form"), date.strftime("%Y-%m-%d")),
                          (("DD/MM/YYYY", "digits with slashes"), date.strftime("%d/%m/%Y")),
                          (("words, day first", "day, month name and year"), f"{date.day} {month} {date.year}"),
                          (("words, month first", "month name, day and year"), f"{month} {date.day}, {date.year}")):
        if any(query.endswith(word + ".") for word in words):
            return answer
    raise ValueError(f"{query!r} names no form")


def case(query):
    text, wanted = re.search(r"(?:[Ww]rite|[Cc]hange|is|Rename) ([\w-]+).* (\S+)[.?]$", query).groups()
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+", text)]
    if wanted[0] == "P" or wanted[0] == "c":
        joined = "".join(word.title() for word in words)
        return joined if wanted[0] == "P" else joined[0].lower() + joined[1:]
    return {"snake_case": "_", "kebab-case": "-"}[wanted].join(words)


def tally(query):
    return "\n".join(f"{word}: {count}" for word, count in Counter(halves(query)[1].split(", ")).items())


ANSWERS = {check.__name__: check for check in (
    csv_to_json, json_to_yaml, pairs_to_json, tags, rename_key, sort_numbers, sort_names, reverse_list, list_form, filter_lines,
    columns, sentences, dates, case, tally)}
