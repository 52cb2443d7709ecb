#!/bin/bash
# scripts/run.sh as a person uses it: stdout is the program's alone, also when a build comes first; a second run starts
# at once; a changed source is built.
set -euo pipefail
root=$(readlink -f "$(dirname "$0")/../..")
run=("$root/scripts/with-driver.sh" lavapipe "$root/scripts/run.sh")
fail() { echo "test_run: $*" >&2; exit 1; }
command -v jq >/dev/null || { echo "test_run: no jq" >&2; exit 77; }

rm -f "$root/build/release/.built" # whatever was built before, this run goes through the build
text=$("${run[@]}" generate --json -p "Write a Python function sum_even(nums) that sums the even numbers in a list." \
    </dev/null | jq -er .text) || fail "generate --json is not one JSON object on stdout"
[[ $text == *"def sum_even(nums):"* ]] || fail "the tiny model wrote: $text"

[ -n "$("$root/scripts/run.sh" </dev/null 2>/dev/null)" ] || fail "without arguments nothing was written"

# The mean of ten, less the program's own start.
mean() { local from=${EPOCHREALTIME/./}; for _ in 1 2 3 4 5 6 7 8 9 10; do "$@" --help >/dev/null; done; echo $(((${EPOCHREALTIME/./} - from) / 10)); }
overhead=$(($(mean "$root/scripts/run.sh") - $(mean "$root/build/release/refusion")))
echo "overhead of run.sh: $overhead us"
[ $overhead -lt 100000 ] || fail "run.sh takes $overhead us before the program starts, wanted 50 ms (100 on a busy machine)"

touch "$root/engine/status.c"
"$root/scripts/run.sh" --help 2>&1 >/dev/null </dev/null | grep -q building || fail "a changed source was not built"
