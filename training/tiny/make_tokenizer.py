#!/usr/bin/env python3
"""Learns the tiny model's tokenizer from training samples, and writes it as a model folder has it, with config.json:
make_tokenizer.py SAMPLES FOLDER. The same samples give the same bytes. Needs the Python package tokenizers.
"""
import argparse
import json
import os
import shutil
import sys

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))

from refusion_train.tokenizer import BEGIN, MASK, SPLIT  # noqa: E402

ADDED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", BEGIN, MASK]
VOCABULARY = 1536 # with ADDED; README.md has the figures of others
SHAPE = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
         "intermediate_size": 768, "max_position_embeddings": 4096}


def learn(path):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()

    def texts():
        with open(path, encoding="utf-8") as file:
            for line in file:
                sample = json.loads(line)
                yield sample["query"]
                yield sample["response"]

    tokenizer.train_from_iterator(texts(), trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(ADDED), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_special_tokens(ADDED)
    return tokenizer


def config_of(numbers):
    return {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", **SHAPE, "vocab_size": VOCABULARY,
            "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "hidden_act": "silu", "attention_bias": False,
            "attention_dropout": 0.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cache": True,
            "use_sliding_window": False, "sliding_window": None, "initializer_range": 0.02,
            "bos_token_id": numbers[BEGIN], "eos_token_id": numbers["<|im_end|>"],
            "pad_token_id": numbers["<|endoftext|>"], "mask_token_id": numbers[MASK], "refusion_preset": "tiny"}


def write(folder, name, tree):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(tree, file, ensure_ascii=False, indent=1)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samples", help="JSON lines of generate.py --train")
    parser.add_argument("folder", help="where the files go")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    tokenizer = learn(options.samples)
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise SystemExit(f"make_tokenizer: {options.samples}: too few samples for {VOCABULARY} tokens, "
                         f"{tokenizer.get_vocab_size()} were found")
    numbers = {content: tokenizer.token_to_id(content) for content in ADDED}
    tokenizer.save(os.path.join(options.folder, "tokenizer.json"))
    tokenizer.model.save(options.folder) # vocab.json and merges.txt
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    write(options.folder, "added_tokens.json", numbers)
    write(options.folder, "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "add_prefix_space": False, "bos_token": None,
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None, "mask_token": MASK,
        "errors": "replace", "model_max_length": SHAPE["max_position_embeddings"], "split_special_tokens": False,
        "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": {str(number): {"content": content, **flags} for content, number in numbers.items()}})
    shutil.copy(os.path.join(os.path.dirname(os.path.realpath(__file__)), "chat_template.jinja"), options.folder)
    write(options.folder, "config.json", config_of(numbers))
    write(options.folder, "generation_config.json", {
        "eos_token_id": [numbers["<|im_end|>"], numbers["<|endoftext|>"]], "pad_token_id": numbers["<|endoftext|>"],
        "do_sample": False})


if __name__ == "__main__":
    main()
