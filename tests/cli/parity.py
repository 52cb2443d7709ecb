#!/usr/bin/env python3
"""Golden parity through the program: every line of tests/golden/decode.jsonl, decode_wild.jsonl and ar.json is given to
`refusion generate --tokens`, one process a run, and must give the original program's tokens, forwards and rows.

  parity.py --program build/test/refusion [--driver lavapipe] [--precision f32|f16] [--jobs 2] [--subset N]
            [--files decode,wild,ar] [--paths matmul_few,matmul_wide]

For decode and wild each line is run twice: with --reference (output_ids, forwards, rows) and in the default mode
(default_ids, default_text, and default_forwards where the line has it). --driver starts the program through
scripts/with-driver.sh; without it, on whatever the Vulkan loader finds. --subset takes N lines of each file, spread over
it; RF_FULL=1 in the environment overrides --subset. Where the fp16 path's rounding
is known to change a token (ROUNDING below), exactly that change is excused, and printed. How often each shader was
dispatched in all runs together is printed; --paths names beginnings of shader names that must have been. Exit status: 0
all equal and every path taken, 1 differences or a path that never ran, 77 no such driver.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import subprocess
import sys
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
GOLDEN = os.path.join(ROOT, "tests", "golden")

# On the fp16 path: line of a golden file -> (position, found, wanted) of the first token that may differ. Each needs a
# proof that the original's own margin there is below the path's error: tests/cli/test_rounding.c.
ROUNDING = {"decode_wild.jsonl:3": (13, 451, 345)}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--driver")
    parser.add_argument("--precision", default="auto", choices=["auto", "f32", "f16"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--subset", type=int, default=0)
    parser.add_argument("--files", default="decode,wild,ar")
    parser.add_argument("--paths", default="", help="shaders that must be dispatched, separated by commas")
    parser.add_argument("--extra", default="", help="more options for every run, separated by spaces")
    return parser.parse_args()


def thin(lines, subset):
    """`subset` of the lines, spread evenly, first and last included."""
    if not subset or subset >= len(lines):
        return lines
    if subset == 1:
        return lines[:1]
    return [lines[i * (len(lines) - 1) // (subset - 1)] for i in range(subset)]


def read_lines(name):
    with open(os.path.join(GOLDEN, name), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def decode_case(label, line, reference):
    options = ["-n", str(line["gen_length"]), "--slot-size", str(line["slot_size"]), "--block", str(line["block"]),
               "--slot-threshold", str(line["slot_threshold"]), "--token-threshold", str(line["token_threshold"])]
    if reference:
        options.append("--reference")
        wanted = {"tokens": line["output_ids"], "forwards": line["forwards"], "rows": line["rows"]}
    else:
        wanted = {"tokens": line["default_ids"], "text": line["default_text"]}
        if "default_forwards" in line:
            wanted["forwards"] = line["default_forwards"]
    return {"label": label + (" reference" if reference else " default"), "ids": line["prompt_ids"],
            "options": options, "wanted": wanted}


def ar_case(label, line):
    # The file's ids end with the eos token, which the program does not show; it costs a forward all the same.
    ids = line["ids"]
    return {"label": label, "ids": line["prompt_ids"], "options": ["--decode", "ar", "--slot-size", "32"],
            "wanted": {"tokens": ids[:-1], "forwards": len(ids), "finish_reason": "stop", "text": line["text"]}}


def collect_cases(arguments):
    files = arguments.files.split(",")
    subset = 0 if os.environ.get("RF_FULL") == "1" else arguments.subset
    cases = []
    for key, name in (("decode", "decode.jsonl"), ("wild", "decode_wild.jsonl")):
        if key not in files:
            continue
        for number, line in thin(list(enumerate(read_lines(name))), subset):
            cases.append(decode_case(f"{name}:{number}", line, True))
            cases.append(decode_case(f"{name}:{number}", line, False))
    if "ar" in files:
        with open(os.path.join(GOLDEN, "ar.json"), encoding="utf-8") as file:
            for number, line in thin(list(enumerate(json.load(file))), subset):
                cases.append(ar_case(f"ar.json:{number}", line))
    if not cases:
        sys.exit(f"parity: --files {arguments.files}: found no file, wanted some of decode,wild,ar")
    return cases


def is_rounding(case, got):
    """Whether the first different token is the one that ROUNDING names for this line."""
    known = ROUNDING.get(case["label"].split()[0])
    pairs = list(zip(got["tokens"], case["wanted"]["tokens"]))
    first = next((i for i, (found, wanted) in enumerate(pairs) if found != wanted), None)
    return known is not None and first is not None and (first, *pairs[first]) == known


def run_case(arguments, case):
    """(what differs or None, whether that is excused, dispatches by shader). A missing driver raises SystemExit."""
    launcher = [os.path.join(ROOT, "scripts", "with-driver.sh"), arguments.driver] if arguments.driver else []
    command = launcher + [
        arguments.program, "generate", "-m", os.path.join(ROOT, "tests", "golden", "tiny"), "--json", "--quiet",
        "--dispatches", "--no-tune", "--precision", arguments.precision, "--tokens", ",".join(map(str, case["ids"]))] + case["options"] + arguments.extra.split()
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode == 77 and arguments.driver:
        sys.stderr.write(result.stderr)
        raise SystemExit(77)
    if result.returncode != 0:
        return f"exit status {result.returncode}: {result.stderr.strip()}", False, {}
    got = json.loads(result.stdout)
    differences = []
    for key, wanted in case["wanted"].items():
        if got[key] == wanted:
            continue
        if key == "tokens":
            first = next((i for i, (a, b) in enumerate(zip(got[key], wanted)) if a != b),
                         min(len(got[key]), len(wanted)))
            differences.append(f"tokens differ from position {first} on: found {got[key][first:first + 4]} "
                               f"({len(got[key])} tokens), wanted {wanted[first:first + 4]} ({len(wanted)})")
        else:
            differences.append(f"{key}: found {got[key]!r}, wanted {wanted!r}")
    excused = bool(differences) and arguments.precision == "f16" and is_rounding(case, got)
    return "; ".join(differences) or None, excused, got["dispatches"]


def untaken_paths(arguments, dispatches):
    """Prints how often each shader ran; the --paths of which none did."""
    print("dispatches: " + ", ".join(f"{shader} {count}" for shader, count in dispatches.most_common()))
    wanted = [path for path in arguments.paths.split(",") if path]
    return [path for path in wanted if not any(shader.startswith(path) for shader in dispatches)]


def main():
    arguments = parse_arguments()
    cases = collect_cases(arguments)
    start = time.monotonic()
    failed = rounded = 0
    dispatches = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        try:
            results = pool.map(lambda case: run_case(arguments, case), cases)
            for number, (case, (difference, excused, counts)) in enumerate(zip(cases, results), 1):
                dispatches.update(counts)
                if difference:
                    failed += not excused
                    rounded += excused
                    print(f"{'rounding' if excused else 'FAILED'} {case['label']}: {difference}", flush=True)
                if number % 20 == 0:
                    print(f"{number} of {len(cases)} after {time.monotonic() - start:.0f} s", flush=True)
        except SystemExit as end:
            pool.shutdown(cancel_futures=True)
            return end.code
    print(f"parity: {len(cases) - failed - rounded} of {len(cases)} runs equal, {rounded} excused, precision {arguments.precision}, driver "
          f"{arguments.driver or 'default'}, {time.monotonic() - start:.0f} s")
    untaken = untaken_paths(arguments, dispatches)
    for path in untaken:
        print(f"FAILED: no run dispatched {path}")
    return 1 if failed or untaken else 0


if __name__ == "__main__":
    sys.exit(main())
