"""Samples as tokens on disk, in an order that depends on the seed alone.

Files are read and encoded once, before the first step: faults show then and not after a night, the number of samples is
known, and no process of the training holds texts. The tokens lie in one file that every process maps; sample n of the
training (n counts over all epochs) is found without the samples before it, so any number of processes sees the same
samples, and going on at step n needs nothing but n.
"""
import hashlib
import json
import os
import random
import shutil
from typing import Callable, Iterable, Iterator, Sequence

import numpy as np

from .errors import TrainError, read_json
from .objective import Rows, draw, lay_out, lay_out_causal
from .records import Record, records
from .tokenizer import ChatTokenizer

FORMAT = 1 # of the files below; part of what names their folder
GROUP = 512 # records encoded at a time, by the tokenizer's threads


def seed_of(*parts: object) -> int:
    """32 bits that hang on every part."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "little")


class Preparation:
    """One reading of the files."""

    def __init__(self, tokenizer: ChatTokenizer, max_length: int, skip_malformed: bool, say: Callable[[str], None]):
        self.tokenizer, self.max_length, self.skip_malformed, self.say = tokenizer, max_length, skip_malformed, say
        self.malformed = self.too_long = self.tokens = 0
        self.index: list[tuple[int, int, int]] = [] # first token, prompt tokens, answer tokens

    def _well_formed(self, paths: Iterable[str]) -> Iterator[Record]:
        for path in paths:
            for record in records(path):
                if record.error is None:
                    yield record
                elif not self.skip_malformed:
                    raise TrainError(f"{record.place}: {record.error} (--malformed skip goes on without it)")
                else:
                    self.malformed += 1
                    self.say(f"{record.place}: {record.error}; skipped")

    def _encode(self, group: Sequence[Record], file, digest) -> None:
        prompts = self.tokenizer.questions([record.query for record in group])
        answers = self.tokenizer.answers([record.response for record in group])
        for prompt, answer in zip(prompts, answers):
            if len(prompt) + len(answer) > self.max_length:
                self.too_long += 1
                continue
            data = np.array(prompt + answer, dtype="<u4").tobytes()
            file.write(data)
            digest.update(data)
            self.index.append((self.tokens, len(prompt), len(answer)))
            self.tokens += len(prompt) + len(answer)

    def write(self, paths: Sequence[str], folder: str) -> None:
        digest = hashlib.sha256()
        group: list[Record] = []
        with open(os.path.join(folder, "tokens.bin"), "wb") as file:
            for record in self._well_formed(paths):
                group.append(record)
                if len(group) == GROUP:
                    self._encode(group, file, digest)
                    group = []
            self._encode(group, file, digest)
        if not self.index:
            raise TrainError(f"{', '.join(paths)}: no samples that can be trained on ({self.malformed} malformed, "
                             f"{self.too_long} longer than {self.max_length} tokens)")
        index = np.array(self.index, dtype="<i8")
        digest.update(index.tobytes())
        np.save(os.path.join(folder, "index.npy"), index)
        with open(os.path.join(folder, "meta.json"), "w", encoding="utf-8") as meta:
            json.dump({"samples": len(index), "tokens": self.tokens, "malformed": self.malformed,
                       "too_long": self.too_long, "digest": digest.hexdigest()}, meta)


def _key(paths: Sequence[str], tokenizer: ChatTokenizer, max_length: int, skip_malformed: bool) -> str:
    states = []
    for path in paths:
        try:
            state = os.stat(path)
        except OSError as error:
            raise TrainError(f"{path}: {error.strerror}") from None
        states.append((os.path.abspath(path), state.st_size, state.st_mtime_ns))
    everything = (FORMAT, states, tokenizer.identity(), max_length, skip_malformed)
    return hashlib.sha256(repr(everything).encode()).hexdigest()[:16]


def prepare(paths: Sequence[str], tokenizer: ChatTokenizer, max_length: int, skip_malformed: bool, cache: str,
            write: bool, say: Callable[[str], None]) -> str:
    """The folder of the encoded samples; made where it is missing and `write` is set. Several machines that share
    `cache` may do so at once."""
    folder = os.path.join(cache, _key(paths, tokenizer, max_length, skip_malformed))
    if os.path.exists(folder) or not write:
        return folder
    made = f"{folder}.{os.uname().nodename}.{os.getpid()}"
    os.makedirs(made)
    try:
        Preparation(tokenizer, max_length, skip_malformed, say).write(paths, made)
        os.rename(made, folder)
    except OSError as error:
        if not os.path.exists(folder): # not made by another machine meanwhile
            raise TrainError(f"{made}: {error.strerror}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


class Dataset:
    def __init__(self, folder: str, seed: int, mask_token: int, causal: bool = False, begun: float = 0.0):
        self.meta = read_json(os.path.join(folder, "meta.json"))
        self.tokens = np.memmap(os.path.join(folder, "tokens.bin"), dtype="<u4", mode="r")
        self.index = np.load(os.path.join(folder, "index.npy"), mmap_mode="r")
        self.seed, self.mask_token, self.causal, self.begun = seed, mask_token, causal, begun
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.index)

    def _at(self, n: int) -> int:
        epoch, place = divmod(n, len(self))
        if epoch != self._epoch:
            # RandomState, not Generator: NumPy promises that its numbers stay what they are.
            self._order = np.random.RandomState(seed_of("order", self.seed, epoch)).permutation(len(self))
            self._epoch = epoch
        return int(self._order[place])

    def sample(self, n: int) -> Rows:
        """The n-th sample of the training; its mask and order are drawn, unless it is `causal`."""
        start, prompt, answer = map(int, self.index[self._at(n)])
        tokens = self.tokens[start:start + prompt + answer].tolist()
        if self.causal:
            return lay_out_causal(tokens[:prompt], tokens[prompt:])
        drawn = draw(answer, random.Random(seed_of("draw", self.seed, n)), self.begun)
        return lay_out(tokens[:prompt], tokens[prompt:], drawn, self.mask_token)
