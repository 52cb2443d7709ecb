#!/usr/bin/env python3
"""test_report.py SCRIPT FOLDER OPTION...: a dry run of scripts/gpu-report.sh, and what it wrote; then one whose
self-test cannot pass, which must be told as such without stopping the rest."""
import glob
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))


def run(script, folder, options):
    shutil.rmtree(folder, ignore_errors=True)
    result = subprocess.run([script, "--out", folder, *options], capture_output=True, text=True, check=False)
    files = sorted(os.path.basename(path) for path in glob.glob(os.path.join(folder, "*")))
    assert len(files) == 2 and files[0].endswith(".json") and files[1].endswith(".md"), (files, result.stderr)
    with open(os.path.join(folder, files[0]), encoding="utf-8") as file:
        data = json.load(file)
    with open(os.path.join(folder, files[1]), encoding="utf-8") as file:
        return result, data, file.read()


def main():
    script, folder, *options = sys.argv[1:]
    driver = options[options.index("--driver") + 1]
    probe = subprocess.run([os.path.join(ROOT, "scripts", "with-driver.sh"), driver, "true"], check=False)
    if probe.returncode == 77:
        sys.exit(77)

    result, data, table = run(script, folder, options)
    assert result.returncode == 0, result.stderr
    steps = {step["name"]: step["status"] for step in data["steps"]}
    for name in ["devices", "selftest", "parity f32", "parity f16", "bench f16", "bench q8_0"]:
        assert steps[name] == "passed", steps
    assert steps["torch"].startswith("skipped"), steps
    assert data["selftest"]["passed"] and data["selftest"]["kernels"], data["selftest"]
    for weights in ["f16", "q8_0"]:
        bench = data["bench"][weights]
        assert [(cell["rows"], cell["cache"]) for cell in bench["forward"]] == [(1, 16), (8, 16)], bench
        assert bench["ar"]["tokens"] == 64 and bench["refusion"]["tokens"] == 64, bench
    rows = [line for line in table.splitlines() if line.startswith("| 8 | 16 |")]
    assert len(rows) == 1 and f"{data['bench']['q8_0']['forward'][1]['ms']:.3f} (" in rows[0], table

    assert steps["profile"] == "passed" and data["profile"]["shaders"], steps
    first = data["profile"]["shaders"][0]
    assert f"| {first['op']} | {first['shader']} | {first['phase']} | {first['calls']} |" in table, table

    # lavapipe has matrix units, but no fast dot products.
    assert list(data["variants"]) == ["f16, without coopmat2", "f16, attention without matrix units",
                                      "f16, without matrix units", "f16, nothing split over k"], data["variants"]
    own, other = data["bench"]["f16"]["forward"][1], data["variants"]["f16, nothing split over k"]["forward"][0]
    assert f"split over k: 8 rows, cache 16: {other['ms']:.3f} ms (beside {own['ms']:.3f})" in table, table

    # No kernel has this name, which selftest calls a failure; the time is too short for the rest.
    options[options.index("--kernel") + 1] = "no such kernel"
    options[options.index("--minutes") + 1] = "0.05"
    result, data, table = run(script, folder, options)
    assert result.returncode == 1, result.stderr
    steps = {step["name"]: step for step in data["steps"]}
    assert steps["selftest"]["status"] == "failed with status 2", steps
    assert "no such kernel" in steps["selftest"]["output"], steps
    assert steps["bench f16"]["status"].startswith("did not end within"), steps
    assert "| selftest | failed with status 2 |" in table, table
    print("gpu-report: a dry run that passes, and one that must not")


if __name__ == "__main__":
    main()
