"""Derives both tokenizer routes of ReFusion from the published Qwen3 tokenizer.

usage: derive_qwen3.py SOURCE TARGET
SOURCE holds tokenizer.json and tokenizer_config.json; the two tokens that ReFusion adds get the next ids. Written are
  TARGET/json/    tokenizer.json + tokenizer_config.json
  TARGET/merges/  vocab.json + merges.txt + added_tokens.json + tokenizer_config.json
"""
import json
import pathlib
import sys

ADDED = {"<|beginoftext|>": 151669, "<|mask|>": 151670}
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def main():
    source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    tokenizer, config = read(source / "tokenizer.json"), read(source / "tokenizer_config.json")
    taken = {token["id"] for token in tokenizer["added_tokens"]} | set(tokenizer["model"]["vocab"].values())
    for content, token_id in ADDED.items():
        if token_id in taken:
            sys.exit(f"{source}/tokenizer.json: id {token_id} is taken, wanted for {content}")
        tokenizer["added_tokens"].append({"id": token_id, "content": content, **FLAGS})
        config["added_tokens_decoder"][str(token_id)] = {"content": content, **FLAGS}

    (target / "json").mkdir(parents=True)
    write(target / "json" / "tokenizer.json", tokenizer)
    write(target / "json" / "tokenizer_config.json", config)

    (target / "merges").mkdir()
    model = tokenizer["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    write(target / "merges" / "vocab.json", model["vocab"])
    write(target / "merges" / "tokenizer_config.json", config)
    write(target / "merges" / "added_tokens.json", {t["content"]: t["id"] for t in tokenizer["added_tokens"]})
    text = "#version: 0.2\n" + "".join(merge + "\n" for merge in merges)
    (target / "merges" / "merges.txt").write_text(text, encoding="utf-8")


main()
