#!/usr/bin/env python3
"""Makes the golden files of this folder: a few rows of numbers in BF16, and what llama.cpp's llama-quantize makes of
them. Needs python3-gguf (with numpy) and llama-quantize:

    python3 make.py 'llama-quantize'

The argument is the command that starts llama-quantize, with the words before it that it may need.
"""
import random
import shlex
import subprocess
import sys

import gguf
import numpy as np

ROWS, COLUMNS = 24, 256


def rows():
    """Numbers like those of weights, and rows that are awkward: outliers, one sign, ties, zeros, wide ranges."""
    draw = random.Random(20251121)
    out = np.zeros((ROWS, COLUMNS))
    for r in range(ROWS):
        row = np.array([draw.gauss(0, 0.02) for _ in range(COLUMNS)])
        if r == 1:
            row[::37] *= 50
        elif r == 2:
            row = abs(row) + 0.01
        elif r == 3:
            row = -abs(row) - 0.01
        elif r == 4:
            row = np.round(row * 400) / 2
        elif r == 5:
            row[:64] = 0
            row[96:128] = 0.5
        elif r == 6:
            row *= np.array([10 ** draw.uniform(-4, 1) for _ in range(COLUMNS)])
        elif r == 7:
            row *= 1e-4
        out[r] = row
    bits = out.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)  # to bf16, ties to even


def write(path):
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(COLUMNS)
    writer.add_feed_forward_length(COLUMNS)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_key_length(64)
    writer.add_value_length(64)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    data = rows()
    writer.add_tensor("blk.0.ffn_up.weight", data.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write("bf16.gguf")
for name in ("Q8_0", "Q4_0", "Q4_K", "Q6_K"):
    kind = {"Q4_K": "Q4_K_S"}.get(name, name)
    command = shlex.split(sys.argv[1]) + ["--pure", "bf16.gguf", f"{name.lower()}.gguf", kind]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
