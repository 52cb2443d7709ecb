#!/usr/bin/env python3
"""Times forwards of a Qwen3 shape with random bf16 weights in plain torch, eager and as a CUDA graph: what
scripts/gpu-report.sh sets beside `refusion bench`. `rows` fresh tokens attend to `cache` committed rows and causally to
each other; every row gets its argmax. Prints one JSON object. A GPU without room for the shape is a failure.
"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

SHAPES = {  # layers, hidden, heads, ffn, tied; as in Qwen/Qwen3-*'s config.json
    "qwen3-0.6b": (28, 1024, 16, 3072, True),
    "qwen3-1.7b": (28, 2048, 16, 6144, True),
    "qwen3-4b": (36, 2560, 32, 9728, True),
    "qwen3-8b": (36, 4096, 32, 12288, False),
}
KNOWN = ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "tied")
WARM_UP, REPEATS = 3, 10
HAS_GQA = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) >= (2, 5)


def parse_shape(text):
    name, *changes = text.split(",")
    if name not in SHAPES:
        sys.exit(f"torch_forward: found the shape \"{name}\", wanted one of {', '.join(SHAPES)}")
    shape = dict(zip(("layers", "hidden", "heads", "ffn", "tied"), SHAPES[name]), kv_heads=8, head_dim=128,
                 vocab=151671)
    for change in changes:
        key, _, value = change.partition("=")
        if key in KNOWN:
            shape[key] = int(value)
        elif key not in ("type", "context"):  # these two say nothing to torch
            sys.exit(f"torch_forward: found \"{change}\" in the shape, wanted KEY=VALUE with one of {', '.join(KNOWN)}")
    return argparse.Namespace(**shape)


def random_matrix(outputs, inputs, device):
    """Weights of variance 1 / inputs, as a synthetic model has them."""
    return (torch.randn(outputs, inputs, device=device, dtype=torch.bfloat16) * inputs ** -0.5).contiguous()


def rms_norm(x, weight):
    if hasattr(F, "rms_norm"):
        return F.rms_norm(x, (x.shape[-1],), weight, 1e-6)
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * weight


def rotate(x, cosine, sine):
    """x [heads][rows][head_dim], half-split."""
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cosine - high * sine, high * cosine + low * sine), dim=-1)


class Network:
    def __init__(self, shape, device):
        self.shape, self.device = shape, device
        q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        ones = torch.ones(shape.hidden, device=device, dtype=torch.bfloat16)
        head_ones = torch.ones(shape.head_dim, device=device, dtype=torch.bfloat16)
        self.embed = random_matrix(shape.vocab, shape.hidden, device)
        self.head = self.embed if shape.tied else random_matrix(shape.vocab, shape.hidden, device)
        self.norm, self.head_norm = ones, head_ones
        self.layers = [{"qkv": random_matrix(q + 2 * kv, shape.hidden, device),
                        "o": random_matrix(shape.hidden, q, device),
                        "gate_up": random_matrix(2 * shape.ffn, shape.hidden, device),
                        "down": random_matrix(shape.hidden, shape.ffn, device)} for _ in range(shape.layers)]

    def begin(self, rows, cache):
        """A filled cache, and everything that does not change between forwards of this size."""
        shape, device = self.shape, self.device
        self.rows, self.cache = rows, cache
        size = (shape.layers, shape.kv_heads, cache + rows, shape.head_dim)
        self.keys = torch.randn(size, device=device, dtype=torch.bfloat16)
        self.values = torch.randn(size, device=device, dtype=torch.bfloat16)
        positions = torch.arange(cache, cache + rows, device=device, dtype=torch.float64)
        exponents = torch.arange(0, shape.head_dim, 2, device=device, dtype=torch.float64) / shape.head_dim
        angles = positions[:, None] * 1e6 ** -exponents[None, :]
        self.cosine, self.sine = angles.cos().to(torch.bfloat16), angles.sin().to(torch.bfloat16)
        key = torch.arange(cache + rows, device=device)
        self.mask = key[None, :] <= torch.arange(cache, cache + rows, device=device)[:, None]
        self.tokens = torch.zeros(rows, device=device, dtype=torch.long)

    def attend(self, layer, x):
        shape = self.shape
        heads = F.linear(x, self.layers[layer]["qkv"]).view(self.rows, -1, shape.head_dim).transpose(0, 1)
        query, key, value = heads.split((shape.heads, shape.kv_heads, shape.kv_heads))
        query = rotate(rms_norm(query, self.head_norm), self.cosine, self.sine)
        self.keys[layer, :, self.cache:] = rotate(rms_norm(key, self.head_norm), self.cosine, self.sine)
        self.values[layer, :, self.cache:] = value
        keys, values = self.keys[layer][None], self.values[layer][None]
        if self.rows == 1 and HAS_GQA:  # one row sees every key
            y = F.scaled_dot_product_attention(query[None], keys, values, enable_gqa=True)
        else:  # with a mask, only equal numbers of heads have a fused kernel; copying the keys takes less than it saves
            group = shape.heads // shape.kv_heads
            y = F.scaled_dot_product_attention(query[None], keys.repeat_interleave(group, 1),
                                               values.repeat_interleave(group, 1), attn_mask=self.mask)
        return F.linear(y[0].transpose(0, 1).reshape(self.rows, -1), self.layers[layer]["o"])

    def forward(self):
        h = F.embedding(self.tokens, self.embed)
        for index, layer in enumerate(self.layers):
            h = h + self.attend(index, rms_norm(h, self.norm))
            gate, up = F.linear(rms_norm(h, self.norm), layer["gate_up"]).chunk(2, dim=-1)
            h = h + F.linear(F.silu(gate) * up, layer["down"])
        return F.linear(rms_norm(h, self.norm), self.head).argmax(-1)


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def median_ms(network, run):
    times = []
    for repeat in range(WARM_UP + REPEATS):
        network.tokens.copy_(torch.randint(network.shape.vocab, (network.rows,)))  # fresh rows
        synchronize(network.device)
        begin = time.perf_counter()
        run()
        synchronize(network.device)
        if repeat >= WARM_UP:
            times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def graph_ms(network):
    """None where the device has no CUDA graphs."""
    if network.device != "cuda":
        return None
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # capturing wants a warm-up on a stream of its own
        for _ in range(WARM_UP):
            network.forward()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network.forward()
    return median_ms(network, graph.replay)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="qwen3-8b")
    parser.add_argument("--rows", default="1,2,4,8,16,32,64,128,256,512")
    parser.add_argument("--cache", default="512")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options = parser.parse_args()
    torch.manual_seed(0)
    forwards = []
    with torch.inference_mode():
        network = Network(parse_shape(options.shape), options.device)
        for cache in map(int, options.cache.split(",")):
            for rows in map(int, options.rows.split(",")):
                network.begin(rows, cache)
                eager = median_ms(network, network.forward)
                forwards.append({"rows": rows, "cache": cache, "eager_ms": eager, "graph_ms": graph_ms(network)})
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(json.dumps({"torch": torch.__version__, "device": name, "dtype": "bfloat16", "forward": forwards}))


if __name__ == "__main__":
    main()
