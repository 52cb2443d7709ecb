#!/bin/bash
# Measures and checks refusion on the GPU of this machine, without network, within nine minutes:
#   scripts/gpu-report.sh [OPTIONS]     see --help: they are those of scripts/gpu_report.py, which does the work
# Wants python3 and a built program (build/release/refusion, built by scripts/run.sh, or --program FILE).
# Writes bench/results/DEVICE-DATE.json and .md.
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/..
command -v python3 >/dev/null || { echo "gpu-report: found no python3, wanted it to run the steps" >&2; exit 1; }
exec python3 "$root/scripts/gpu_report.py" "$@"
