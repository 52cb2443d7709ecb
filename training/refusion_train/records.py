"""Samples in files: a JSON list of {"query", "response"}, or one such object a line. Read piece by piece."""
import codecs
import json
import re
from dataclasses import dataclass
from typing import Iterator

from .errors import TrainError, describe

CHUNK = 1 << 20
LONGEST = 16 << 20 # characters of one list element; what is longer is a missing bracket
FIELDS = ("query", "response")
SPACE = re.compile(r"[ \t\r\n]*")


@dataclass
class Record:
    """A sample, or what is wrong with what stands there."""
    place: str # file:line
    query: str = ""
    response: str = ""
    error: str | None = None


def _checked(place: str, value: object) -> Record:
    if not isinstance(value, dict):
        return Record(place, error=f"{describe(value)}, wanted an object with \"query\" and \"response\"")
    for key in FIELDS:
        if key not in value:
            return Record(place, error=f"no field \"{key}\"")
        text = value[key]
        if not isinstance(text, str):
            return Record(place, error=f"\"{key}\" is {describe(text)}, wanted a string")
        if not text:
            return Record(place, error=f"\"{key}\" is empty")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return Record(place, error=f"\"{key}\" holds half a surrogate pair, which no UTF-8 text can")
    return Record(place, value["query"], value["response"])


def _lines(path: str) -> Iterator[Record]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            try:
                yield _checked(place, json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8")))
            except UnicodeDecodeError as error:
                yield Record(place, error=f"not UTF-8 at byte {error.start} of the line")
            except ValueError as error:
                yield Record(place, error=f"not JSON: {error}")
            except RecursionError:
                yield Record(place, error="not JSON: nested too deeply")


class _ListReader:
    """Elements of a JSON list. After malformed text nothing tells where the next element begins: it is the last."""

    def __init__(self, path: str):
        self.path, self.line, self.text, self.at, self.ended = path, 1, "", 0, False
        self.file = open(path, "rb")
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.json = json.JSONDecoder()

    def place(self) -> str:
        return f"{self.path}:{self.line}"

    def more(self) -> None:
        """At least doubles what is there, so that a long element is not tried once for every chunk of it."""
        self.text, self.at = self.text[self.at:], 0
        chunk = self.file.read(max(CHUNK, len(self.text)))
        self.text += self.decoder.decode(chunk, final=not chunk)
        self.ended = not chunk

    def advance(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def mark(self) -> str:
        """The next character that is no space, passed; "" at the end of the file."""
        while True:
            self.advance(SPACE.match(self.text, self.at).end())
            if self.at < len(self.text):
                self.at += 1
                return self.text[self.at - 1]
            if self.ended:
                return ""
            self.more()

    def element(self) -> object:
        """The value at the character that mark() has passed."""
        self.at -= 1
        while True:
            try:
                value, end = self.json.raw_decode(self.text, self.at)
                if end < len(self.text) or self.ended:
                    self.advance(end)
                    return value
            except ValueError:
                if self.ended or len(self.text) - self.at > LONGEST:
                    raise
            self.more()


def _elements(path: str) -> Iterator[Record]:
    reader = _ListReader(path)
    with reader.file:
        try:
            reader.mark() # the bracket
            first = reader.mark()
            if first == "]":
                return
            while True:
                place = reader.place()
                if not first:
                    yield Record(place, error="the file ends inside the list")
                    return
                yield _checked(place, reader.element())
                then = reader.mark()
                if then == "]":
                    break
                if then != ",":
                    found = describe(then) if then else "the end of the file"
                    yield Record(reader.place(), error=f"not JSON: {found}, wanted \",\" or \"]\" after an element")
                    return
                first = reader.mark()
            if reader.mark():
                yield Record(reader.place(), error="not JSON: more text after the list")
        except json.JSONDecodeError as error:
            line = reader.line + reader.text.count("\n", reader.at, error.pos)
            yield Record(f"{path}:{line}", error=f"not JSON: {error.msg}; the rest of the file cannot be read")
        except UnicodeDecodeError:
            yield Record(reader.place(), error="not UTF-8 behind here; the rest of the file cannot be read")
        except RecursionError:
            yield Record(reader.place(), error="not JSON: nested too deeply; the rest of the file cannot be read")


def records(path: str) -> Iterator[Record]:
    try:
        with open(path, "rb") as file:
            start = file.read(CHUNK).lstrip(b"\xef\xbb\xbf \t\r\n")
        yield from _elements(path) if start.startswith(b"[") else _lines(path)
    except OSError as error:
        raise TrainError(f"{path}: {error.strerror}") from None
