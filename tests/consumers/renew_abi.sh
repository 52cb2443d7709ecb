#!/bin/bash
# renew_abi.sh [BUILD]: writes symbols.txt and refusion.abi anew from an installed test build (build/test; its test
# consumers.install installs it).
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
build=${1:-$here/../../build/test}
library=$(find "$build/installed" -name 'librefusion.so.*.*')
[ -n "$library" ] || { echo "renew_abi: $build/installed has no librefusion.so: run ctest -R consumers.install" >&2; exit 1; }

nm -D --defined-only "$library" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort >"$here/symbols.txt"
"$here/describe_abi.sh" "$build/installed" >"$here/refusion.abi"
