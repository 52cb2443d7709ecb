#!/usr/bin/env python3
"""Measures and checks refusion on one device: self-test of every kernel, golden parity, forwards, prompt and decoding
at a real model's shape in several weight formats, a profile of one of them, and the same forwards in torch
where there is one with CUDA. Each step has a share of the time that is left; one that runs out of it is reported as
such and the rest goes on. Writes DEVICE-DATE.json and a Markdown table. Exit status: 0 all steps passed, 1 not all, 2
usage.
"""
import argparse
import datetime
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
# Other ways to make the same forwards: what is measured against them, in which formats, with which device capability or
# precision, and which options of `refusion bench` take them.
VARIANTS = [
    ("without coopmat2", ("f16",), "coopmat2", ["--disable", "coopmat2"]),
    ("products without coopmat2", ("f16", "q4_k"), "coopmat2_matmul", ["--disable", "coopmat2Matmul"]),
    ("attention without matrix units", ("f16",), "coopmat", ["--disable", "coopmatAttention"]),
    ("without matrix units", ("f16",), "coopmat", ["--disable", "coopmat"]),
    ("nothing split over k", ("f16",), None, ["--disable", "splits"]),
    ("int8 inputs", ("q8_0", "q4_0", "q4_k"), "int8_dot", ["--precision", "int8"]),
]
PROFILE_ROWS = 12  # kernels in the table
KEPT_OUTPUT = 2000  # characters of a failed step's output


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "release", "refusion"))
    parser.add_argument("--driver", help="a driver of scripts/with-driver.sh; default: what the Vulkan loader finds")
    parser.add_argument("--device", help="as refusion --device takes it")
    parser.add_argument("--shape", default="qwen3-8b",
                        help="as refusion bench --synthetic takes it (default %(default)s)")
    parser.add_argument("--types", default="f16,q8_0,q4_0,q4_k", help="weight formats (default %(default)s)")
    parser.add_argument("--rows", default="1,2,4,8,16,32,64,128,256,512", help="(default %(default)s)")
    parser.add_argument("--cache", default="512", help="(default %(default)s)")
    parser.add_argument("--variant-rows", default="8,32,64", help="rows that other kernels are tried with (default "
                        "%(default)s; \"\": none are)")
    parser.add_argument("--prefill", type=int, default=512, help="prompt tokens (default %(default)s)")
    parser.add_argument("--tokens", type=int, default=256, help="tokens to generate (default %(default)s)")
    parser.add_argument("--accept-rate", type=float, default=0.7, help="see refusion bench (default %(default)s)")
    parser.add_argument("--cell-seconds", type=float, default=0.5, help="time for one cell (default %(default)s)")
    parser.add_argument("--parity", type=int, default=12, metavar="N", help="golden lines of each file; 0: all")
    parser.add_argument("--kernel", help="self-test only kernels whose name contains this")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything (default %(default)s)")
    parser.add_argument("--out", default=os.path.join(ROOT, "bench", "results"), help="folder (default %(default)s)")
    parser.add_argument("--no-torch", action="store_true")
    return parser.parse_args()


class Report:
    def __init__(self, options):
        self.options = options
        self.end = time.monotonic() + 60 * options.minutes
        self.data = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                     "host": {"system": platform.platform(), "cpus": os.cpu_count()}, "steps": []}

    def left(self):
        return self.end - time.monotonic()

    def run(self, name, command, share, environment=None):
        """Standard output of a step and whether it passed; at most `share` of the time that is left."""
        limit = max(1.0, share * self.left())
        print(f"gpu-report: {name} (at most {limit:.0f} s)", file=sys.stderr, flush=True)
        begin, output, errors = time.monotonic(), "", ""
        # A group of its own: a step that runs out of time may have started others.
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors="replace", start_new_session=True,
                              env={**os.environ, **(environment or {})}) as process:
            try:
                output, errors = process.communicate(timeout=limit)
                status = "passed" if process.returncode == 0 else f"failed with status {process.returncode}"
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, errors = process.communicate()
                status = f"did not end within {limit:.0f} s"
        step = {"name": name, "status": status, "seconds": round(time.monotonic() - begin, 1)}
        if status != "passed":
            step["output"] = (output + errors)[-KEPT_OUTPUT:]
            print(f"gpu-report: {name}: {status}\n{step['output']}", file=sys.stderr)
        self.data["steps"].append(step)
        return output, status == "passed"

    def run_json(self, name, command, share):
        """The object that a step prints; a failed one may have printed what it had until then."""
        text, passed = self.run(name, command, share)
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            if passed:
                self.data["steps"][-1]["status"] = f"printed no JSON: {error}"
            return None

    def skip(self, name, why):
        self.data["steps"].append({"name": name, "status": f"skipped: {why}", "seconds": 0.0})

    def passed(self):
        return all(step["status"] == "passed" or step["status"].startswith("skipped") for step in self.data["steps"])


def program(options, *arguments):
    launcher = [os.path.join(ROOT, "scripts", "with-driver.sh"), options.driver] if options.driver else []
    device = ["--device", options.device] if options.device else []
    return launcher + [options.program, *arguments] + device


def note_state(report, when):
    """Clocks, temperature and load of an NVIDIA GPU, where its tool is: beside figures they tell what was measured."""
    try:
        state = subprocess.run(["nvidia-smi", "--format=csv", "--query-gpu=name,driver_version,pstate,clocks.sm,"
                                "clocks.mem,temperature.gpu,power.draw,utilization.gpu,memory.used"],
                               capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return
    if state.returncode == 0:
        report.data["host"][f"nvidia_smi_{when}"] = state.stdout.strip().splitlines()


def check_kernels(report):
    """Every kernel of every tier that the device has."""
    options = report.options
    kernel = ["--kernel", options.kernel] if options.kernel else []
    report.data["selftest"] = report.run_json("selftest", program(options, "selftest", "--json", *kernel), 0.2)


def check_parity(report):
    """The original program's tokens, on both precisions."""
    options = report.options
    command = [sys.executable, os.path.join(ROOT, "tests", "cli", "parity.py"), "--program", options.program,
               "--subset", str(options.parity), "--jobs", str(min(4, os.cpu_count() or 1))]
    if options.driver:
        command += ["--driver", options.driver]
    precisions = ["f32", "f16"] if report.data["device"]["fp16"] else ["f32"]
    for precision in precisions:
        environment = {"RF_DEVICE": options.device} if options.device else {}
        text, _ = report.run(f"parity {precision}", command + ["--precision", precision], 0.15, environment)
        report.data.setdefault("parity", {})[precision] = text.strip().splitlines()[-1:]


def measure(report):
    """A sweep for each weight format; the formats share what is left but the time for torch."""
    options, types = report.options, report.options.types.split(",")
    report.data["bench"] = {}
    for i, weights in enumerate(types):
        share = 0.8 / (len(types) - i)
        arguments = ["bench", "--json", "--synthetic", f"{options.shape},type={weights}", "--rows", options.rows,
                     "--cache", options.cache, "--prefill", str(options.prefill), "--ar", str(options.tokens),
                     "--generate", str(options.tokens), "--accept-rate", str(options.accept_rate), "--seconds",
                     str(options.cell_seconds), "--quiet"]
        result = report.run_json(f"bench {weights}", program(options, *arguments), share)
        if result:
            report.data["bench"][weights] = result


def measure_variants(report):
    """Forwards of a few row counts once more, by other kernels than the device's own choice."""
    options, device, types = report.options, report.data["device"], report.options.types.split(",")
    report.data["variants"] = {}
    wanted = [(f"{weights}, {name}", weights, arguments) for name, formats, capability, arguments in VARIANTS
              for weights in types if weights in formats and (not capability or device.get(capability))]
    for i, (name, weights, arguments) in enumerate(wanted if options.variant_rows else []):
        command = ["bench", "--json", "--synthetic", f"{options.shape},type={weights}", "--rows", options.variant_rows,
                   "--cache", options.cache, "--seconds", str(options.cell_seconds), "--quiet", *arguments]
        result = report.run_json(f"bench {name}", program(options, *command), 0.6 / (len(wanted) - i))
        if result:
            report.data["variants"][name] = result


def profile(report):
    """Every dispatch of an answer behind a cached prompt, in the first weight format."""
    options = report.options
    shape = f"{options.shape},type={options.types.split(',')[0]}"
    report.data["profile"] = report.run_json(
        "profile", program(options, "profile", "--json", "--quiet", "--synthetic", shape, "--runs", "2",
                           "--prompt-tokens", str(options.prefill), "--max-tokens", str(min(options.tokens, 128))), 0.5)


def measure_torch(report):
    """The same forwards in torch, in the same run."""
    options = report.options
    if options.no_torch:
        report.skip("torch", "--no-torch")
        return
    probe = subprocess.run([sys.executable, "-c", "import torch; assert torch.cuda.is_available()"],
                           capture_output=True, check=False)
    if probe.returncode != 0:
        report.skip("torch", "python3 here has no torch with CUDA")
        return
    report.data["torch"] = report.run_json(
        "torch", [sys.executable, os.path.join(ROOT, "scripts", "torch_forward.py"), "--shape", options.shape, "--rows",
                  options.rows, "--cache", options.cache], 0.6)


# ---- Markdown -------------------------------------------------------------------------------------------------------

def cells(result):
    return {(cell["rows"], cell["cache"]): cell for cell in (result or {}).get("forward", [])}


def forward_table(data):
    """One line for each row count and cache: ms and per cent of the floor of each format, then torch."""
    columns = list(data.get("bench", {}))
    ours = {weights: cells(data["bench"][weights]) for weights in columns}
    theirs = cells(data.get("torch"))
    keys = sorted({key for table in ours.values() for key in table} | set(theirs), key=lambda key: (key[1], key[0]))
    head = ["rows", "cache"] + [f"{weights} ms" for weights in columns] + ["path"]
    if theirs:
        head += ["torch bf16 ms", "with CUDA graph ms"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --: |" * len(head)]
    for key in keys:
        line = [str(key[0]), str(key[1])]
        for weights in columns:
            cell = ours[weights].get(key)
            line.append(f"{cell['ms']:.3f} ({cell['percent_of_floor']:.0f} %)" if cell else "")
        first = next((ours[weights][key] for weights in columns if key in ours[weights]), None)
        line.append(first["path"] if first else "")
        if theirs:
            cell = theirs.get(key, {})
            line += [f"{cell[name]:.3f}" if cell.get(name) else "" for name in ("eager_ms", "graph_ms")]
        lines.append("| " + " | ".join(line) + " |")
    return lines


def variant_table(data):
    lines = []
    for name, result in data.get("variants", {}).items():
        own = cells(data["bench"].get(name.split(",")[0]))
        times = [f"{rows} rows, cache {cache}: {cell['ms']:.3f} ms"
                 + (f" (beside {own[rows, cache]['ms']:.3f})" if (rows, cache) in own else "")
                 for (rows, cache), cell in sorted(cells(result).items())]
        lines.append(f"- {name}: " + "; ".join(times))
    return [""] + lines if lines else []


def decode_table(data):
    lines = ["| format | weights GB | prefill tokens/s | AR tokens/s | plan-and-infill tokens/s | tokens a forward |",
             "| --- |" + " --: |" * 5]
    for weights, result in data.get("bench", {}).items():
        if not all(result.get(name) for name in ("prefill", "ar", "refusion")):
            continue  # it failed before
        lines.append(f"| {weights} | {result['model']['weight_bytes'] / 1e9:.2f} "
                     f"| {result['prefill']['tokens_per_second']:.0f} | {result['ar']['tokens_per_second']:.1f} "
                     f"| {result['refusion']['tokens_per_second']:.1f} "
                     f"| {result['refusion']['tokens_per_forward']:.2f} |")
    return lines


def ceilings_line(data):
    first = next(iter(data.get("bench", {}).values()), None)
    if not first:
        return []
    c = first["ceilings"]
    parts = [f"read {c['read_gb_per_second']:.0f} GB/s", f"f32 {c['f32_tflops']:.2f} TFLOP/s"]
    for key, name in (("f16_tflops", "f16"), ("int8_tops", "int8 dot"), ("coopmat_tflops", "cooperative matrices")):
        if c.get(key):
            parts.append(f"{name} {c[key]:.2f} T/s")
    parts += [f"dispatch {c['dispatch_us']:.2f} us", f"barrier {c['barrier_us']:.2f} us",
              f"submission {c['submission_us']:.1f} us"]
    return ["Ceilings: " + ", ".join(parts) + ".", ""]


def profile_table(data):
    """The kernels that take most of the device's time."""
    found = data.get("profile")
    if not found:
        return []
    lines = ["", f"Profile of {found['model']['name']}: free-running {1e3 * found['totals']['free_span']:.1f} ms, serialised "
             f"{1e3 * found['totals']['serial_sum']:.1f} ms an answer.", "",
             "| op | shader | phase | calls | rows | us a call | share | GB/s | TFLOP/s | of the floor |",
             "| --- | --- | --- | --: | --: | --: | --: | --: | --: | --: |"]
    for kernel in found["shaders"][:PROFILE_ROWS]:
        lines.append(f"| {kernel['op']} | {kernel['shader']} | {kernel['phase']} | {kernel['calls']} | "
                     f"{kernel['rows_mean']:.1f} | {1e6 * kernel['mean']:.1f} | {100 * kernel['share']:.1f} % | "
                     f"{kernel['gb_per_second']:.1f} | {kernel['tflops']:.2f} | "
                     f"{kernel.get('percent_of_floor', 0):.0f} % |")
    return lines


def markdown(data, options):
    lines = [f"# {data['device'].get('name', 'unknown device')}, {data['date']}", "",
             f"Driver {data['device'].get('driver', '?')}; shape {options.shape}; percentages are of the floor, the "
             "larger of bytes / read ceiling and operations / multiply ceiling.", ""]
    lines += ceilings_line(data) + forward_table(data) + variant_table(data) + [""] + decode_table(data)
    lines += profile_table(data)
    lines += ["", "| step | result | s |", "| --- | --- | --: |"]
    lines += [f"| {step['name']} | {step['status']} | {step['seconds']} |" for step in data["steps"]]
    return "\n".join(lines) + "\n"


def write(report):
    options, data = report.options, report.data
    name = re.sub(r"[^a-z0-9]+", "-", data["device"].get("name", "unknown").lower()).strip("-")
    os.makedirs(options.out, exist_ok=True)
    path = os.path.join(options.out, f"{name}-{data['date'].replace(':', '')}")
    with open(path + ".json", "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.write("\n")
    text = markdown(data, options)
    with open(path + ".md", "w", encoding="utf-8") as file:
        file.write(text)
    print(text)
    print(f"written: {path}.json, {path}.md")


def find_device(report):
    """What `devices` says of the one that will be used: --device, else the first of the best kind."""
    options = report.options
    wanted, options.device = options.device, None
    devices = [d for d in report.run_json("devices", program(options, "devices", "--json"), 0.1) or [] if d["usable"]]
    options.device = wanted
    kinds = ["discrete", "integrated", "virtual", "cpu", "other"]
    if wanted:
        devices = [d for d in devices if str(d["index"]) == wanted or wanted.lower() in d["name"].lower()]
    devices.sort(key=lambda d: kinds.index(d["type"]))
    report.data["device"] = devices[0] if devices else {}
    if not devices:
        report.data["steps"].append({"name": "device", "status": "failed: no usable device", "seconds": 0.0})
    return bool(devices)


def main():
    options = parse_arguments()
    if not os.access(options.program, os.X_OK):
        print(f"gpu-report: found no program {options.program}, wanted one: build it, or name it with --program",
              file=sys.stderr)
        return 2
    report = Report(options)
    note_state(report, "before")
    if find_device(report):
        check_kernels(report)
        check_parity(report)
        measure(report)
        measure_torch(report)
        measure_variants(report)
        profile(report)
    note_state(report, "after")
    write(report)
    return 0 if report.passed() else 1


if __name__ == "__main__":
    sys.exit(main())
