#!/usr/bin/env python3
"""Writes the tiny model's training samples and held-out tasks as JSON lines, or tells about them."""
import argparse
import contextlib
import json
import math
import os
import statistics
import sys
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))

from tiny import FAMILIES, GROUPS, held_out_tasks, training_samples  # noqa: E402
from tiny.streams import held_out, training_tasks  # noqa: E402


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted a number from 1")
    return int(text)


def family_names(text):
    names = text.split(",")
    for name in names:
        if name not in FAMILIES:
            raise argparse.ArgumentTypeError(f"no family {name!r}, there are {', '.join(FAMILIES)}")
        if names.count(name) > 1:
            raise argparse.ArgumentTypeError(f"family {name!r} is named {names.count(name)} times")
    return names


def weights(text):
    result = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        if name not in FAMILIES and name not in GROUPS:
            raise argparse.ArgumentTypeError(f"no family or group {name!r}, there are {', '.join([*GROUPS, *FAMILIES])}")
        if name in result:
            raise argparse.ArgumentTypeError(f"{name!r} is named more than once")
        result[name] = positive(weight)
    return result


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--train", type=positive, metavar="N", help="N training samples: query, response")
    what.add_argument("--heldout", type=positive, metavar="N",
                      help="N held-out tasks of each family: family, query, reference, check")
    what.add_argument("--stats", type=positive, metavar="N", help="figures of N training samples")
    what.add_argument("--table", action="store_true", help="the families as Markdown, as in README.md")
    parser.add_argument("--seed", type=int, help="of training samples (default 1)")
    parser.add_argument("--families", type=family_names, metavar="A,B", help="only these (default: all)")
    parser.add_argument("--weights", type=weights, metavar="NAME=N,...",
                        help="how often a family is drawn in its group, or a group among the three (default: --table, and 1)")
    parser.add_argument("--out", metavar="FILE", help="where the lines go (default: standard output)")
    options = parser.parse_args(arguments)
    if options.out and (options.stats or options.table):
        parser.error("--out is for --train and --heldout")
    if options.seed is not None and (options.heldout or options.table):
        parser.error("--seed is for --train and --stats: the held-out tasks are always the same")
    if options.weights and (options.heldout or options.table):
        parser.error("--weights is for --train and --stats")
    drawn = [FAMILIES[name] for name in options.families or FAMILIES]
    for name in options.weights or ():
        if not any(name in (member.name, member.group) for member in drawn):
            parser.error(f"--weights: {name!r} is not among the --families")
    options.seed = 1 if options.seed is None else options.seed
    return options


def write_lines(records, path):
    """As JSON lines. A file appears when it is complete, so that a run that was stopped leaves none that is cut."""
    if path is None:
        sys.stdout.writelines(json.dumps(record) + "\n" for record in records)
        return
    partial = path + ".partial"
    try:
        with open(partial, "w", encoding="utf-8") as out:
            out.writelines(json.dumps(record) + "\n" for record in records)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def entropy(counts):
    """In bits."""
    total = sum(counts)
    return sum(count / total * math.log2(total / count) for count in counts)


STATS_HEAD = f"{'family':<14} {'samples':>7} {'distinct':>8} {'wordings':>8} {'bits':>5}  {'query':^17}  {'response':^17}"


def stats_line(name, tasks):
    wordings = Counter(task.wording for task in tasks)
    lengths = []
    for texts in ([task.query for task in tasks], [task.response for task in tasks]):
        sizes = sorted(map(len, texts))
        lengths.append(f"{statistics.median_low(sizes):5} {sizes[len(sizes) * 99 // 100]:5} {sizes[-1]:5}")
    return (f"{name:<14} {len(tasks):7} {len({task.query for task in tasks}):8} {len(wordings):8} "
            f"{entropy(wordings.values()):5.2f}  {lengths[0]:>17}  {lengths[1]:>17}")


def print_stats(options):
    stream, drawn, groups = training_tasks(options.seed, options.families, options.weights), {}, Counter()
    for _ in range(options.stats):
        member, task = next(stream)
        drawn.setdefault(member.name, []).append(task)
        groups[member.group] += 1
    print("Lengths in characters: median, 99th percentile, most. Bits: entropy of the wordings.\n")
    print(STATS_HEAD)
    for name in FAMILIES:
        if name in drawn:
            print(stats_line(name, drawn[name]))
    print(stats_line("all", [task for tasks in drawn.values() for task in tasks]))
    print("\nsamples by group: " + ", ".join(f"{group} {groups[group]}" for group in groups))


def cell(text):
    """Code that may have several lines, in one cell of a table."""
    return "<br>".join(f"`{line.replace('|', chr(92) + '|')}`" for line in text.replace("```python\n", "").replace("\n```", "")
                       .split("\n"))


def print_table(names):
    for group in dict.fromkeys(member.group for member in FAMILIES.values()):
        print(f"### {group.capitalize()}\n\n| family | held out | why it can be learnt | query | answer |\n|---|---|---|---|---|")
        for member in FAMILIES.values():
            if member.group == group and (not names or member.name in names):
                task = next(held_out(member, 1))
                why = member.learnable + (f". **Risk**: {member.risk}" if member.risk else "")
                weight = " (twice as often)" if member.weight == 2 else ""
                print(f"| {member.name}{weight} | {member.combination} | {why} | {cell(task.query)} | {cell(task.response)} |")
        print()


def main(arguments):
    options = parse_arguments(arguments)
    try:
        if options.train:
            samples = training_samples(options.seed, options.train, options.families, options.weights)
            write_lines(samples, options.out)
        elif options.heldout:
            write_lines(held_out_tasks(options.heldout, options.families), options.out)
        elif options.stats:
            print_stats(options)
        else:
            print_table(options.families)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return f"generate.py: {options.out}: {error.strerror}"
    except ValueError as error:
        return f"generate.py: {error}"
    except KeyboardInterrupt:
        return "generate.py: stopped"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
