"""The tokenizer of a model folder, by either route (tokenizer.json, or vocab.json and merges.txt), with the two special
tokens that ReFusion adds, and the chat format of the training samples."""
import json
import os
from typing import Any, Sequence

from .errors import TrainError, describe, read_json

try:
    from tokenizers import Tokenizer
except ImportError:
    raise TrainError("the Python package tokenizers is not installed (pip install tokenizers)") from None

BEGIN, MASK = "<|beginoftext|>", "<|mask|>"
NEW_TOKENS = (BEGIN, MASK)
COPIED = ("vocab.json", "merges.txt", "special_tokens_map.json", "chat_template.jinja")
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")


def _added_token(content: str, number: int, special: bool) -> dict:
    return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": special}


def _pipeline(folder: str, config: dict) -> dict:
    """tokenizer.json of a folder that has its parts alone."""
    vocabulary = read_json(os.path.join(folder, "vocab.json"))
    path = os.path.join(folder, "merges.txt")
    try:
        with open(path, encoding="utf-8") as file:
            merges = [line for line in file.read().split("\n") if line and not line.startswith("#version")]
    except (OSError, UnicodeDecodeError) as error:
        raise TrainError(f"{path}: {error}") from None
    flags = {entry.get("content"): entry for entry in config.get("added_tokens_decoder", {}).values()}
    numbers = {entry["content"]: int(number) for number, entry in config.get("added_tokens_decoder", {}).items()}
    path = os.path.join(folder, "added_tokens.json")
    if os.path.exists(path):
        numbers.update(read_json(path))
    added = [_added_token(content, number, flags.get(content, {}).get("special", True))
             for content, number in sorted(numbers.items(), key=lambda item: item[1])]
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes_]},
            "post_processor": None, "decoder": bytes_,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary,
                      "merges": merges}}


def _build(pipeline: dict, added: list[dict], folder: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(json.dumps({**pipeline, "added_tokens": added}))
    except Exception as error: # the library raises Exception itself
        raise TrainError(f"{folder}: the tokenizer cannot be read: {error}") from None


class ChatTokenizer:
    def __init__(self, folder: str):
        self.folder = folder
        self.config = read_json(os.path.join(folder, "tokenizer_config.json"))
        path = os.path.join(folder, "tokenizer.json")
        self.has_pipeline = os.path.exists(path)
        self.pipeline = read_json(path) if self.has_pipeline else _pipeline(folder, self.config)
        self._add_tokens()
        added = self.pipeline["added_tokens"]
        self.numbers = {entry["content"]: entry["id"] for entry in added}
        # Text of a question never becomes an added token, as in the engine. An answer may hold those that are not
        # special, <think> and the like, which models write.
        self._question = _build(self.pipeline, [], folder)
        self._answer = _build(self.pipeline, added, folder) # all: the library numbers them by their order
        self._answer.encode_special_tokens = True # as text, that is
        self.mask, self.end = self.numbers[MASK], self._needed("<|im_end|>")
        pad = self.config.get("pad_token") or "<|endoftext|>"
        self.pad = self._needed(pad["content"] if isinstance(pad, dict) else pad)
        self._start = self._needed("<|im_start|>")
        # The template's own texts; a question is encoded together with what stands before it.
        self._between = self._question.encode("\n").ids
        self._turn = self._question.encode("assistant\n").ids

    def _needed(self, content: str) -> int:
        if content not in self.numbers:
            raise TrainError(f"{self.folder}: the tokenizer has no added token {content}, which the chat format needs")
        return self.numbers[content]

    def _add_tokens(self) -> None:
        added: list[dict[str, Any]] = self.pipeline["added_tokens"]
        known = {entry["content"] for entry in added}
        following = 1 + max([*self.pipeline["model"]["vocab"].values(), *(entry["id"] for entry in added)])
        for content in NEW_TOKENS:
            if content not in known:
                added.append(_added_token(content, following, True))
                following += 1
        self.size = following
        self.config["mask_token"] = MASK
        self.config["added_tokens_decoder"] = {
            str(entry["id"]): {key: entry[key] for key in entry if key != "id"} for entry in added}

    def questions(self, texts: Sequence[str]) -> list[list[int]]:
        """The rows before the answer: the question as a chat of one turn, thinking left to the model."""
        encoded = self._question.encode_batch(["user\n" + text for text in texts], add_special_tokens=False)
        return [[self._start, *e.ids, self.end, *self._between, self._start, *self._turn] for e in encoded]

    def answers(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self._answer.encode_batch(list(texts), add_special_tokens=False)
        return [[*e.ids, self.end] for e in encoded]

    def identity(self) -> str:
        """Equal for tokenizers that make the same tokens."""
        return json.dumps(self.pipeline, sort_keys=True)

    def files(self) -> dict[str, str]:
        """The tokenizer's files for a folder that a model is saved in: name and text."""
        texts = {}
        for name in COPIED:
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", newline="") as file:
                    texts[name] = file.read()
        if self.has_pipeline:
            texts["tokenizer.json"] = json.dumps(self.pipeline, ensure_ascii=False)
        if not self.has_pipeline or os.path.exists(os.path.join(self.folder, "added_tokens.json")):
            texts["added_tokens.json"] = json.dumps(self.numbers, ensure_ascii=False, indent=1)
        if "special_tokens_map.json" in texts:
            special = read_json(os.path.join(self.folder, "special_tokens_map.json"))
            texts["special_tokens_map.json"] = json.dumps({**special, "mask_token": MASK}, ensure_ascii=False, indent=1)
        texts["tokenizer_config.json"] = json.dumps(self.config, ensure_ascii=False, indent=1)
        return texts


def check_ids(tokenizer: ChatTokenizer, fields: dict, file: str) -> None:
    """A config that names another mask token is that of another tokenizer."""
    have = fields.get("mask_token_id", tokenizer.mask)
    if have != tokenizer.mask:
        raise TrainError(f"{file}: mask_token_id is {describe(have)}, but {tokenizer.folder} has {MASK} as "
                         f"{tokenizer.mask}")
