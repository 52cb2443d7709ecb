"""The endless training stream, and the held-out tasks of every family."""
from random import Random

from .family import FAMILIES, GROUPS

HELD_OUT_LIMIT = 2000  # draws in a row that bring no new query


def chosen(names=None):
    """The families of these names, or all of them."""
    return [FAMILIES[name] for name in names] if names else list(FAMILIES.values())


def training_tasks(seed, names=None, weights=None):
    """Tasks without end: every group as often as the others, in it every family by its weight. weights, of groups and of
    families by name, stand before those."""
    random, weights = Random(f"tiny training {seed}"), weights or {}
    members = []
    for name in GROUPS:
        group = [member for member in chosen(names) if member.group == name
                 for _ in range(weights.get(member.name, member.weight))]
        members += [group] * weights.get(name, 1) if group else []
    while True:
        group = members[int(random.random() * len(members))]
        member = group[int(random.random() * len(group))]
        yield member, member.draw(random, held_out=False)


def training_samples(seed, count, names=None, weights=None):
    """count times {"query", "response"}; the same for the same seed, and a prefix of those for a larger count."""
    tasks = training_tasks(seed, names, weights)
    for _ in range(count):
        task = next(tasks)[1]
        yield {"query": task.query, "response": task.response}


def held_out(member, count):
    """count different held-out tasks of a family: always the same, and a prefix of those for a larger count."""
    random, seen, repeated = Random(f"tiny held-out {member.name}"), set(), 0
    while len(seen) < count:
        task = member.draw(random, held_out=True)
        repeated = repeated + 1 if task.query in seen else 0
        if repeated > HELD_OUT_LIMIT:
            raise ValueError(f"family {member.name}: {len(seen)} held-out tasks found, {count} wanted")
        if not repeated:
            seen.add(task.query)
            yield task


def held_out_tasks(count, names=None):
    """Evaluation tasks, count of each family: {"family", "query", "reference", "check"}."""
    for member in chosen(names):
        for task in held_out(member, count):
            yield {"family": member.name, "query": task.query, "reference": task.reference(), "check": task.check}
