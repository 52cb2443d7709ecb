#!/usr/bin/env python3
"""Profiles that no device measured, for the tests of the page: the same arguments give the same bytes.

make_sample.py [--rounds N] [--layers N] [--awkward] [--bare]
  --awkward  what a page must bear: submissions without GPU times, a device without timestamps, times of 0, nulls,
             kernels without operations, long names of shaders, text that looks like HTML
  --bare     nothing but the format and its version
"""
import argparse
import json
import random

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB = 1024, 16, 8, 128, 3072, 151671
SLOT = 4
READ, MATH = 20.1e9, 0.11e12
WORDS = ["The", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", ".", "\n", "def", " is", "_odd",
         "(x", "):\n", "    return", " x", " %", " ", "2", " ==", " 1", " naïve", " 漢字", "🦊", " and"]
LONG = "matmul_coopmat_q6_k_act16_transposed_split_over_k_with_a_name_that_no_column_was_made_for"
HOSTILE = "</script><script>document.title='taken'</script><!-- <b>&amp;"


def layer_ops(awkward):
    """(op, shader, bytes of weights, operations a row) in the order of a layer."""
    qkv, out = HIDDEN * (HEADS + 2 * KV_HEADS) * HEAD_DIM, HEADS * HEAD_DIM * HIDDEN
    return [("input norm", "rmsnorm", 4096, 4 * HIDDEN),
            ("qkv", LONG if awkward else "matmul_wide_bf16", 2 * qkv, 2 * qkv),
            ("head norm, RoPE, KV write", "head_rope", 512, 6 * HEADS * HEAD_DIM),
            ("attention", "attention_wide", 0, 4 * 300 * HEADS * HEAD_DIM),
            ("attention reduce", "attention_reduce", 0, 2 * HEADS * HEAD_DIM),
            ("o", "matmul_wide_bf16", 2 * out, 2 * out),
            ("post-attention norm", "rmsnorm", 4096, 4 * HIDDEN),
            ("gate/up", "matmul_wide_bf16", 4 * HIDDEN * FFN, 4 * HIDDEN * FFN),
            ("down", "matmul_wide_bf16", 2 * HIDDEN * FFN, 2 * HIDDEN * FFN)]


def dispatches_of(layers, rows, outputs, awkward):
    """(op, shader, layer, rows, bytes read, bytes written, operations, group) of one forward."""
    found = [("rows gather", "rows_gather", -1, rows, 28 * rows, 64 * rows, 0, 0),
             ("embed", "embed_bf16", -1, rows, 2 * HIDDEN * rows, 4 * HIDDEN * rows, 0, 0)]
    group = 1
    for layer in range(layers):
        for op, shader, weights, operations in layer_ops(awkward):
            found.append((op, shader, layer, rows, weights + 4 * HIDDEN * rows, 4 * HIDDEN * rows, operations * rows, group))
            group += 1
    found.append(("final norm", "rmsnorm", -1, outputs, 4 * HIDDEN * outputs, 4 * HIDDEN * outputs, 4 * HIDDEN * outputs, group))
    found.append(("lm_head", "matmul_wide_bf16", -1, outputs, 2 * HIDDEN * VOCAB, 4 * VOCAB * outputs,
                  2 * HIDDEN * VOCAB * outputs, group + 1))
    found.append(("logits reduce", "logits_reduce", -1, outputs, 4 * VOCAB * outputs, 16 * outputs, VOCAB * outputs, group + 2))
    return found


class Totals:
    """Sums per key of what dispatches took, moved and computed."""

    def __init__(self):
        self.rows = {}

    def add(self, key, seconds, rows, moved, operations):
        sums = self.rows.setdefault(key, [0, 0.0, 0, 0, 0, 0, 1e9, 0.0])
        for index, value in enumerate((1, seconds, rows, moved[0], moved[1], operations)):
            sums[index] += value
        sums[6], sums[7] = min(sums[6], seconds), max(sums[7], seconds)


def rates(seconds, moved, operations):
    if seconds <= 0:
        return {"gb_per_second": None, "tflops": None, "percent_of_floor": None}
    floor = max(moved / READ, operations / MATH)
    return {"gb_per_second": moved / seconds / 1e9, "tflops": operations / seconds / 1e12,
            "percent_of_floor": 100 * floor / seconds}


def decode_events(rng, rounds):
    """Which positions each round plans, commits and drops; 1 to 4 slots a round."""
    events, remaining, per_round = [], list(range(rounds * 2 + 8)), []
    for number in range(rounds):
        chosen = sorted(rng.sample(remaining[:24], min(len(remaining), rng.choice([1, 1, 2, 2, 3, 4]))))
        kept = chosen if number == rounds - 1 else chosen[:max(1, len(chosen) - rng.randrange(2))]
        for slot in chosen:
            for offset in range(SLOT):
                token = rng.randrange(len(WORDS))
                events.append({"kind": "planned", "round": number, "position": slot * SLOT + offset, "count": 1,
                               "token": token, "text": WORDS[token]})
                if slot in kept:
                    final = token if rng.random() < 0.9 else rng.randrange(len(WORDS))
                    events.append({"kind": "committed", "round": number, "position": slot * SLOT + offset, "count": 1,
                                   "token": final, "text": WORDS[final]})
        per_round.append((len(remaining), len(chosen), SLOT * len(kept)))
        remaining = [slot for slot in remaining if slot not in kept]
    if remaining:
        for slot in remaining:
            events.append({"kind": "dropped", "round": rounds - 1, "position": slot * SLOT, "count": SLOT})
    events.append({"kind": "finished", "round": rounds, "position": 0, "count": 0})
    return events, per_round


def submissions_of(rng, rounds, layers, per_round, awkward):
    """Submissions, the traced dispatches of the first of them, and their sums."""
    submissions, trace, ops = [], [], {}
    shaders, layer_sums, phases, costliest, round_sums = Totals(), Totals(), Totals(), [], []
    now, traced = 0.0012, 0
    for number in range(rounds):
        remaining, chosen, _ = per_round[number]
        steps = [("prefill" if number == 0 else "plan", [min(remaining, 32) * SLOT, 0])]
        steps += [("verify", [chosen * SLOT, 0])] + [("complete", [chosen * SLOT] * 2)] * (number % 3 == 1)
        sums = dict(record=0.0, submit=0.0, wait=0.0, read=0.0, gpu=0.0, rows=0)
        for phase, rows in steps:
            host = {"begin": now, "record": rng.uniform(8e-6, 3e-5), "submit": rng.uniform(2e-5, 8e-5)}
            clock = begin = now + host["record"] + host["submit"] + rng.uniform(5e-6, 2e-5)
            index, traces = len(submissions), traced < 12
            for which, pass_rows in enumerate(r for r in rows if r):
                group_key, group_begin = None, clock
                for op, shader, layer, n, read, written, operations, group in dispatches_of(layers, pass_rows, pass_rows, awkward):
                    seconds = max((read + written) / READ, operations / MATH) * rng.uniform(1.1, 2.6) + 2e-6
                    if awkward and op == "input norm":
                        seconds = 0.0
                    shaders.add((op, shader, phase), seconds, n, (read, written), operations)
                    layer_sums.add((layer, op), seconds, n, (read, written), operations)
                    phases.add(phase, seconds, n, (read, written), operations)
                    costliest.append((seconds, op, shader, layer, phase, number, n, read + written, operations))
                    if group != group_key:
                        group_key, group_begin = group, clock
                    clock += seconds
                    sums["gpu"] += seconds
                    if traces:
                        trace.append([index, ops.setdefault((op, shader), len(ops)), layer, which, group, n, read, written,
                                      operations, group_begin, clock])
            end = clock
            host.update(wait=end + 2e-5 - (now + host["record"] + host["submit"]), read=rng.uniform(4e-6, 2e-5))
            traced += traces
            no_gpu = awkward and index % 2 == 1
            submissions.append({"index": index, "run": 0, "phase": phase, "round": number, "rows": rows, "outputs": sum(rows),
                                "host": host, "gpu": None if no_gpu else {"begin": begin, "end": end},
                                "kv_pages": 4 + number // 8, "memory_bytes": 1_400_000_000})
            now = end + 2e-5 + host["read"] + rng.uniform(1e-5, 6e-5)
            sums["rows"] += sum(rows)
            for name in ("record", "submit", "wait", "read"):
                sums[name] += host[name]
        round_sums.append((len(steps), sums))
    share_groups(trace)
    return submissions, trace, list(ops), shaders, layer_sums, phases, costliest, round_sums, now, traced


def share_groups(trace):
    """The dispatches of a group have its begin and end."""
    ends = {}
    for row in trace:
        ends[(row[0], row[3], row[4])] = row[10]
    for row in trace:
        row[10] = ends[(row[0], row[3], row[4])]


def profile(rounds, layers, awkward=False):
    rng = random.Random(7 * rounds + layers)
    events, per_round = decode_events(rng, rounds)
    (submissions, trace, ops, shaders, layer_sums, phases, costliest, round_sums, seconds,
     traced) = submissions_of(rng, rounds, layers, per_round, awkward)
    serial = sum(sums[1] for sums in phases.rows.values())
    tokens = sum(row[2] for row in per_round)
    forwards = sum(row[0] for row in round_sums)
    if awkward:
        events.append({"kind": "committed", "round": rounds - 1, "position": 4 * rounds, "count": 1, "token": 5, "text": HOSTILE})
    result = {
        "format": "refusion-profile", "version": 1, "refusion": "0.1.0", "date": "2026-11-22T10:00:00Z",
        "device": {"name": "llvmpipe (LLVM 21.1.8, 256 bits)", "driver": "Mesa 26.1.6", "type": "cpu",
                   "timestamps": not awkward, "clock": {"kind": "none" if awkward else "calibrated",
                                                        "error_us": None if awkward else 1.2}},
        "model": {"name": "qwen3-0.6b,layers=%d" % layers, "precision": "portable", "layers": layers, "hidden": HIDDEN,
                  "heads": HEADS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM, "ffn": FFN, "vocab": VOCAB,
                  "parameters": 596049920, "weight_bytes": 1192099840},
        "settings": {"decode": "refusion", "preset": "chat", "slot_size": SLOT, "block": 128, "slot_threshold": 0.6,
                     "token_threshold": 0.3, "temperature": 0, "seed": 0, "prompt_tokens": 33, "max_tokens": 4 * len(per_round)},
        "ceilings": {"read_gb_per_second": READ / 1e9, "read_model_gb_per_second": 31.5, "f32_tflops": MATH / 1e12,
                     "f16_tflops": 0.07, "int8_tops": 0.18, "coopmat_tflops": 0},
        "explanation": "Free-running is how the program runs: dispatches that need nothing of each other overlap. "
                       "Serialised puts a barrier around each dispatch, so that each has a time of its own; their sum "
                       "is larger by what overlapped and by the cost of the barriers.",
        "runs": [{"mode": mode, "seconds": seconds * more, "gpu_seconds": None if awkward else serial * (more - 0.03),
                  "tokens": tokens, "rounds": rounds, "forwards": forwards, "tokens_per_forward": tokens / forwards,
                  "tokens_per_second": tokens / (seconds * more),
                  **{name: sum(row[1][name] for row in round_sums) for name in ("record", "submit", "wait", "read")}}
                 for mode, more in (("free", 1.0), ("serial", 1.09), ("free", 1.02), ("free", 0.99), ("serial", 1.1))],
        "totals": {"free_span": None if awkward else 0.94 * serial, "free_groups": None if awkward else 0.93 * serial,
                   "serial_sum": serial},
        "shaders": [], "layers": [], "phases": [], "rounds": [], "costliest": [], "events": events, "submissions": submissions,
        "trace": {"submissions": traced, "of": len(submissions), "ops": ops, "dispatches": trace},
    }
    for (op, shader, phase), (calls, total, rows, read, written, operations, least, most) in shaders.rows.items():
        result["shaders"].append({
            "op": op, "shader": shader, "phase": phase, "calls": calls, "rows_mean": rows / calls, "total": total,
            "mean": total / calls, "least": least, "most": most, "share": total / serial, "free_total": 0.94 * total,
            "run_totals": [0.97 * total, 1.03 * total], "bytes_read": read, "bytes_written": written, "operations": operations, **rates(total, read + written, operations),
            "workgroup": [64, 1, 1]})
    for (layer, op), (calls, total, rows, read, written, operations, least, most) in sorted(layer_sums.rows.items()):
        result["layers"].append({"layer": layer, "op": op, "calls": calls, "rows_mean": rows / calls, "total": total,
                                 "mean": total / calls, "least": least, "most": most, "share": total / serial, **rates(total, read + written, operations)})
    for phase, (calls, total, rows, read, written, operations, least, most) in phases.rows.items():
        result["phases"].append({"phase": phase, "submissions": sum(s["phase"] == phase for s in submissions), "calls": calls,
                                 "rows_mean": rows / calls, "total": total, "share": total / serial,
                                 **rates(total, read + written, operations)})
    for number, (forwards_here, sums) in enumerate(round_sums):
        result["rounds"].append({"round": number, "submissions": forwards_here, **sums, "slots_remaining": per_round[number][0],
                                 "slots_chosen": per_round[number][1], "tokens_committed": per_round[number][2],
                                 "forwards": forwards_here})
    for seconds_, op, shader, layer, phase, number, rows, moved, operations in sorted(costliest, reverse=True)[:10]:
        result["costliest"].append({"op": op, "shader": shader, "layer": layer, "phase": phase, "round": number, "rows": rows,
                                    "seconds": seconds_, **rates(seconds_, moved, operations)})
    result["pipelines"] = [
        {"shader": shader, "replaced": False, "ops": ["qkv", "o"], "row_buckets": [1, 2, 4],
         "specs": [{"id": 0, "name": "LOCAL", "value": 64}, {"id": 1, "name": None, "value": index}],
         "subgroup_size": 8, "local_size": [64, 1, 1] if index else [16, 8, 1], "spirv_words": 900 + index,
         "shared_bytes": None if awkward else 128,
         "statistics": [{"name": "Instruction Count", "value": 210 + 37 * index}, {"name": "VGPRs", "value": 84 - index},
                        {"name": "Spilled VGPRs", "value": 0}] if index % 4 else []}
        for index, shader in enumerate(sorted({key[1] for key in shaders.rows}))]
    if awkward:
        result["counters"] = {
            "runs": 2, "list": [{"name": "Waves", "unit": "generic", "description": "Waves that were launched"},
                                {"name": "Busy", "unit": "percentage", "description": ""}],
            "shaders": [{"op": s["op"], "shader": s["shader"], "phase": s["phase"], "calls": s["calls"], "mean": s["mean"],
                         "values": [10 * index, 37.5]} for index, s in enumerate(result["shaders"])]}
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--awkward", action="store_true")
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    if options.bare:
        print(json.dumps({"format": "refusion-profile", "version": 1}))
    else:
        print(json.dumps(profile(options.rounds, options.layers, options.awkward), separators=(",", ":")))


if __name__ == "__main__":
    main()
