#!/bin/bash
# scripts/run.sh as a person uses it: stdout is the program's alone, also when a build comes first; a second run starts
# at once; a changed source is built.
set -euo pipefail
root=$(readlink -f "$(dirname "$0")/../..")
run=("$root/scripts/with-driver.sh" lavapipe "$root/scripts/run.sh")
fail() { echo "test_run: $*" >&2; exit 1; }
command -v jq >/dev/null || { echo "test_run: no jq" >&2; exit 77; }

rm -f "$root/build/release/.built" # whatever was built before, this run goes through the build
text=$("${run[@]}" generate --json -p "Write a Python function count_numbers(items) that counts the numbers in a list that are even." \
    </dev/null | jq -er .text) || fail "generate --json is not one JSON object on stdout"
[[ $text == *"def count_numbers(items):"* ]] || fail "the tiny model wrote: $text"

[ -n "$("$root/scripts/run.sh" </dev/null 2>/dev/null)" ] || fail "without arguments nothing was written"

# The fastest of ten starts in microseconds: other work on the machine can only add to it.
fastest() {
    local best=999999999 from took
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        from=${EPOCHREALTIME/./}
        "$@" --help >/dev/null
        took=$((${EPOCHREALTIME/./} - from))
        [ $took -ge $best ] || best=$took
    done
    echo $best
}
overhead=$(($(fastest "$root/scripts/run.sh") - $(fastest "$root/build/release/refusion")))
echo "overhead of run.sh: $overhead us"
[ $overhead -lt 50000 ] || fail "run.sh takes $overhead us before the program starts, wanted 50000"

touch "$root/engine/status.c"
"$root/scripts/run.sh" --help 2>&1 >/dev/null </dev/null | grep -q building || fail "a changed source was not built"
