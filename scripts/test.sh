#!/bin/bash
# Sets up, builds with warnings as errors and runs the tests; what needs hardware that is not here is skipped.
#   scripts/test.sh [--asan | --tsan] [CTEST ARGUMENTS...]
#   --asan   everything built with AddressSanitizer and UBSan, leaks included; drivers: stock lavapipe alone
#   --tsan   the tests with the label "threads", built with ThreadSanitizer
# The last line is "N passed, M failed, K skipped"; the exit status is 0 when nothing failed.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
exec </dev/null

preset=test
select=()
case "${1-}" in
--asan) preset=asan; shift ;;
--tsan) preset=tsan select=(-L threads); shift ;;
--help) sed -n '2,6s/^# //p' scripts/test.sh; exit 0 ;;
esac
cmp -s scripts/setup.sh .deps/stamp-tests || scripts/setup.sh --tests

build=build/$preset
mkdir -p "$build"
echo "test: building in $build" >&2
if ! { cmake --preset "$preset" && cmake --build --preset "$preset"; } >"$build/log" 2>&1; then
    cat "$build/log" >&2
    rm -f .deps/stamp-tests # the next run looks again at what is installed
    echo "test: the build failed" >&2
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
grep '^-- Shader path' "$build/log" >&2 || true

status=0
ctest --test-dir "$build" -j2 --output-on-failure --no-tests=error "${select[@]}" "$@" 2>&1 |
    tee "$build/ctest.log" || status=$?

# ctest says how each test ended at the end of its line: Passed, ***Skipped, or one of several words for failed.
ended() { grep -cE "^ *[0-9]+/[0-9]+ Test +#[0-9]+: .*$1" "$build/ctest.log" || true; }
all=$(ended '') passed=$(ended ' Passed ') skipped=$(ended '\*\*\*Skipped ')
failed=$((all - passed - skipped))
[ $status = 0 ] || [ $failed -gt 0 ] || failed=1 # ctest itself failed, e.g. because there were no tests
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
