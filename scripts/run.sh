#!/bin/bash
# Sets up, builds and runs refusion; arguments pass through. Without any, the embedded tiny model answers a question.
# Everything but the program writes to stderr. When nothing changed, the program starts at once.
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/..
build=$root/build/release
program=$build/refusion
sources=("$root"/{CMakeLists.txt,CMakePresets.json,cmake,engine,loader,shaders,apps/refusion})

# The mark is older than any file that was written after the last build began; folders change with added files.
up_to_date() {
    cmp -s "$root/scripts/setup.sh" "$root/.deps/stamp-run" && [ -x "$program" ] && [ -e "$build/.built" ] &&
        [ -z "$(find "${sources[@]}" -newer "$build/.built" -print -quit)" ]
}

# Two first runs at a time: the second waits.
build_locked() {
    exec 9>"$root/.deps/lock"
    flock 9
    ! up_to_date || return 0
    cmp -s "$root/scripts/setup.sh" "$root/.deps/stamp-run" || "$root/scripts/setup.sh"
    mkdir -p "$build"
    touch "$build/.begun"
    echo "run: building in build/release" >&2
    cd "$root"
    if ! { cmake --preset release && cmake --build --preset release; } >"$build/log" 2>&1; then
        cat "$build/log" >&2
        rm -f .deps/stamp-run # the next run looks again at what is installed
        echo "run: the build failed" >&2
        exit 1
    fi
    mv "$build/.begun" "$build/.built"
}

if ! up_to_date; then
    mkdir -p "$root/.deps"
    (build_locked) </dev/null >&2
fi

[ $# -gt 0 ] || set -- generate -p \
    "Write a Python function count_numbers(items) that counts the numbers in a list that are even."
exec "$program" "$@"
