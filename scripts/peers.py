#!/usr/bin/env python3
"""Measures refusion beside llama.cpp: the same GGUF files of random weights, one program after the other, several rounds.

Forwards of some row counts without a cache and sequential decoding, by `refusion bench` and by llama-bench with its
Vulkan backend on the same driver and with its CPU backend. Prints a Markdown table of tokens per second, the best of the
rounds, and writes all of them with --json. Needs llama.cpp's tools as scripts/setup.sh --tests brings them.
Exit status: 0 measured, 1 a program failed, 2 usage.
"""
import argparse
import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
DEPS = os.path.join(ROOT, ".deps")
# hidden, layers, heads, kv heads, ffn; head_dim is 128 in all
SHAPES = {"qwen3-0.6b": (1024, 28, 16, 8, 3072), "qwen3-1.7b": (2048, 28, 16, 8, 6144)}
HEAD_DIM = 128
SEED = 1
POOL = 1 << 20 # random values; matrices are cut from them
TOO_LOW = "a ceiling is measured too low" # what bench refuses when the machine has become faster meanwhile
REPEATS = 2 # of llama-bench, of which each round takes the mean: a CPU driver needs half a minute for one


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "release", "refusion"))
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b", help="(default %(default)s)")
    parser.add_argument("--vocabulary", type=int, default=32000, help="(default %(default)s)")
    parser.add_argument("--types", default="f16,q8_0", help="as refusion quantize --type takes them (default %(default)s)")
    parser.add_argument("--rows", default="32,128", help="(default %(default)s)")
    parser.add_argument("--tokens", type=int, default=8, help="decoded left to right (default %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of llama.cpp (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="(default %(default)s)")
    parser.add_argument("--driver", choices=("lavapipe-new", "default"), default="lavapipe-new",
                        help="Vulkan driver of both: that of scripts/with-driver.sh, or what the loader finds")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def fail(text):
    raise SystemExit(f"peers: {text}")


def run(command, environment=None, tries=1):
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                            env={**os.environ, **(environment or {})})
    if result.returncode != 0 and tries > 1 and TOO_LOW in result.stderr:
        print(f"peers: once more: {result.stderr.strip()}", file=sys.stderr)
        return run(command, environment, tries - 1)
    if result.returncode != 0:
        fail(f"{' '.join(command)}: exit status {result.returncode}: {result.stderr[-1000:]}")
    return result.stdout


def tensors(shape, vocabulary):
    hidden, layers, heads, kv_heads, ffn = shape
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    yield "model.norm.weight", (hidden,)
    for i in range(layers):
        name = f"model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield name + norm + ".weight", (hidden,)
        for norm in ("q_norm", "k_norm"):
            yield name + f"self_attn.{norm}.weight", (HEAD_DIM,)
        yield name + "self_attn.q_proj.weight", (heads * HEAD_DIM, hidden)
        yield name + "self_attn.k_proj.weight", (kv_heads * HEAD_DIM, hidden)
        yield name + "self_attn.v_proj.weight", (kv_heads * HEAD_DIM, hidden)
        yield name + "self_attn.o_proj.weight", (hidden, heads * HEAD_DIM)
        yield name + "mlp.gate_proj.weight", (ffn, hidden)
        yield name + "mlp.up_proj.weight", (ffn, hidden)
        yield name + "mlp.down_proj.weight", (hidden, ffn)


def write_model(folder, shape, vocabulary):
    """The tiny model's folder with random f16 weights of another shape; its vocabulary is shorter."""
    shutil.copytree(os.path.join(ROOT, "models", "tiny"), folder)
    path = os.path.join(folder, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    hidden, layers, heads, kv_heads, ffn = shape
    config.update(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, head_dim=HEAD_DIM,
                  num_key_value_heads=kv_heads, intermediate_size=ffn, vocab_size=vocabulary, torch_dtype="float16")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    header, offset = {}, 0
    for name, dimensions in tensors(shape, vocabulary):
        size = 2 * math.prod(dimensions)
        header[name] = {"dtype": "F16", "shape": dimensions, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    generator = random.Random(SEED)
    normal = [generator.gauss(0, 1) for _ in range(POOL)]
    pools = {}
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, dimensions in tensors(shape, vocabulary):
            if len(dimensions) == 1:
                file.write(struct.pack("<e", 1.0) * dimensions[0])
                continue
            columns = dimensions[1]
            if columns not in pools:
                pools[columns] = struct.pack(f"<{POOL}e", *(value * columns ** -0.5 for value in normal))
            for _ in range(dimensions[0]):
                begin = 2 * generator.randrange(POOL - columns)
                file.write(pools[columns][begin:begin + 2 * columns])


class Peers:
    def __init__(self, options):
        self.options = options
        self.rows = [int(n) for n in options.rows.split(",")]
        self.llama = os.path.join(DEPS, "llama", "run")
        if not os.path.exists(self.llama):
            fail(f"no {self.llama}: scripts/setup.sh --tests brings it")
        self.launcher, self.vulkan = [], {"GGML_VK_VISIBLE_DEVICES": "0"}
        if options.driver == "lavapipe-new":
            root = os.path.join(DEPS, "lavapipe-new", "usr")
            self.launcher = [os.path.join(ROOT, "scripts", "with-driver.sh"), options.driver]
            self.vulkan["VK_DRIVER_FILES"] = os.path.join(root, "share", "vulkan", "icd.d", "lvp_icd.json")
            self.vulkan["RF_LIBRARIES"] = os.path.join(root, "lib", f"{os.uname().machine}-linux-gnu")

    def ours(self, model):
        found = json.loads(run(self.launcher + [self.options.program, "bench", "-m", model, "--rows", self.options.rows,
                                                "--cache", "0", "--ar", str(self.options.tokens),
                                                "--prompt-tokens", "1", # llama-bench decodes from an empty cache too
                                                "--json", "--quiet"], tries=3))
        speeds = {f["rows"]: f["tokens_per_second"] for f in found["forward"]}
        return [speeds[n] for n in self.rows] + [found["ar"]["tokens_per_second"]]

    def theirs(self, model, vulkan):
        command = [self.llama, "llama-bench", "-m", model, "-p", self.options.rows, "-n", str(self.options.tokens),
                   "-t", str(self.options.threads), "-r", str(REPEATS), "-o", "json"]
        found = json.loads(run(command + (["-ngl", "99"] if vulkan else ["-dev", "none", "-ngl", "0"]),
                               self.vulkan if vulkan else None))
        backends = found[0]["backends"]
        if vulkan and (found[0]["n_gpu_layers"] < 99 or "Vulkan" not in backends):
            fail(f"llama-bench did not run its Vulkan backend: {backends}")
        prompts = {f["n_prompt"]: f["avg_ts"] for f in found if f["n_prompt"]}
        return [prompts[n] for n in self.rows] + [f["avg_ts"] for f in found if f["n_gen"]]

    def measure(self, model):
        """Of each program the speeds of each round."""
        speeds = {"llama.cpp, Vulkan": [], "llama.cpp, CPU": [], "refusion": []}
        for _ in range(self.options.rounds):
            speeds["llama.cpp, Vulkan"].append(self.theirs(model, True))
            speeds["refusion"].append(self.ours(model))
            speeds["llama.cpp, CPU"].append(self.theirs(model, False))
        return speeds


def print_table(kind, rows, speeds):
    print(f"\n| {kind} | " + " | ".join(f"{n} rows" for n in rows) + " | sequential |\n|---" + "|---" * (len(rows) + 1) + "|")
    best = {name: [max(column) for column in zip(*rounds)] for name, rounds in speeds.items()}
    for name, values in best.items():
        print(f"| {name} | " + " | ".join(f"{value:.3g}" for value in values) + " |")
    for name in list(best)[:2]:
        shares = (ours / theirs for ours, theirs in zip(best["refusion"], best[name]))
        print(f"| refusion / {name} | " + " | ".join(f"{share:.3g}" for share in shares) + " |", flush=True)


def main():
    options = parse_arguments()
    peers = Peers(options)
    results = {}
    with tempfile.TemporaryDirectory(prefix="peers") as folder:
        source = os.path.join(folder, "model")
        print(f"peers: writing {options.shape} with {options.vocabulary} tokens", file=sys.stderr)
        write_model(source, SHAPES[options.shape], options.vocabulary)
        for kind in options.types.split(","):
            model = os.path.join(folder, kind + ".gguf")
            run([options.program, "quantize", source, model, "--type", kind, "--quiet"])
            results[kind] = peers.measure(model)
            os.remove(model)
            print_table(kind, peers.rows, results[kind])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"shape": options.shape, "vocabulary": options.vocabulary, "rows": peers.rows,
                       "tokens": options.tokens, "types": results}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
