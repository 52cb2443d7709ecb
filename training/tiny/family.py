"""What a family of tasks is: how it draws a sample, and which combinations of its parts are held out."""
import hashlib
from dataclasses import dataclass
from typing import Callable

GROUPS = ("word problems", "functions", "rewriting")
FAMILIES = {}  # by name, in the order of their definition

HELD_OUT_ONE_IN = 10  # of a family's combinations


class Refused(Exception):
    """What a family drew is not wanted, or not on the wanted side of the held-out line."""


@dataclass(frozen=True)
class Task:
    query: str
    response: str
    check: str  # exact, number, regex, python-tests
    reference: Callable[[], str]  # called for held-out tasks only: the tests of a function take longer than the function
    combination: tuple
    wording: tuple  # which of each choice of phrases was taken


@dataclass(frozen=True)
class Family:
    name: str
    group: str
    combination: str  # what is held out
    learnable: str  # why a model of 5 M parameters can learn it
    risk: str  # "", or what may go wrong
    weight: int  # samples in training, as a multiple of what a family of weight 1 has in the same group
    write: Callable  # write(Draw) -> (query, response, check, reference)

    def draw(self, random, held_out):
        """A task whose combination is, or is not, held out."""
        while True:
            draw = Draw(self.name, random, held_out)
            try:
                query, response, check, reference = self.write(draw)
            except Refused:
                continue
            if draw.combination is None:
                raise AssertionError(f"family {self.name}: drew a task without naming its combination")
            return Task(query, response, check, reference, draw.combination, tuple(draw.wording))


def family(group, combination, learnable, risk="", weight=1):
    """Registers a function as the family of its name."""
    if group not in GROUPS:
        raise AssertionError(f"group {group!r}: wanted one of {', '.join(GROUPS)}")

    def register(write):
        FAMILIES[write.__name__] = Family(write.__name__, group, combination, learnable, risk, weight, write)
        return write
    return register


def is_held_out(name, combination):
    """By a hash of the combination alone: the same whatever the seed, the machine and the version of Python."""
    digest = hashlib.blake2b(f"{name} {combination!r}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % HELD_OUT_ONE_IN == 0


class Draw:
    """One task's choices. Only random() of the generator is used: its sequence is the same in all versions of Python."""

    def __init__(self, name, random, held_out):
        self.name = name
        self.random = random.random
        self.held_out = held_out
        self.combination = None
        self.wording = []

    def number(self, low, high):
        """From low to high, both included."""
        if low > high:
            raise AssertionError(f"family {self.name}: no number from {low} to {high}")
        return low + int(self.random() * (high - low + 1))

    def pick(self, things):
        return things[int(self.random() * len(things))]

    def some(self, things, count):
        """count different ones, in random order."""
        rest = list(things)
        return [rest.pop(int(self.random() * len(rest))) for _ in range(count)]

    def phrase(self, *phrases):
        """A choice that says the same in other words."""
        index = int(self.random() * len(phrases))
        self.wording.append(index)
        return phrases[index]

    def need(self, holds):
        """Draws again where this does not hold: all combinations that are left stay equally likely."""
        if not holds:
            raise Refused

    def hold(self, *combination):
        """Names the combination; to be called before the text is made, so that a refusal costs little."""
        if is_held_out(self.name, combination) != self.held_out:
            raise Refused
        self.combination = combination


def exactly(query, response):
    """A task whose answer is right only as it stands."""
    return query, response, "exact", lambda: response


def number(query, steps, answer):
    """A word problem: its worked steps, a line each, and the number that they come to."""
    return query, "\n".join(steps + [f"The answer is {answer}."]), "number", lambda: str(answer)
