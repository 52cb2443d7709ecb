#!/bin/bash
# test_install.sh BUILD CC: installs the build into a folder of its own and builds an application against it, with the
# flags that pkg-config gives, shared and static.
set -euo pipefail
build=$1 cc=$2
here=$(readlink -f "$(dirname "$0")")
prefix=$build/installed
fail() { echo "test_install: $*" >&2; exit 1; }

rm -rf "$prefix"
cmake --install "$build" --prefix "$prefix" >/dev/null
pc=$(find "$prefix" -name refusion.pc)
[ -n "$pc" ] || fail "refusion.pc was not installed"
library=$(dirname "$(dirname "$pc")")
# The file names the folder that the build was configured for.
config() { PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-variable=prefix="$prefix" \
    --define-variable=libdir="$library" --define-variable=includedir="$prefix/include" "$@" refusion; }

model=$(find "$prefix" -type d -path '*/models/tiny')
[ -n "$model" ] || fail "models/tiny was not installed"
# shellcheck disable=SC2046 # flags are words
"$cc" -std=c11 "$here/consumer.c" $(config --cflags --libs) -Wl,-rpath,"$library" -o "$prefix/consumer_shared"
"$prefix/consumer_shared" "$model"
# shellcheck disable=SC2046
"$cc" -std=c11 "$here/consumer.c" $(config --cflags) "$library/librefusion.a" \
    $(config --static --libs | sed 's/-lrefusion//') -o "$prefix/consumer_static"
"$prefix/consumer_static" "$model"
foreign=$(nm -D --defined-only "$library/librefusion.so" | awk '$3 !~ /^rf_/ { print $3 }')
[ -z "$foreign" ] || fail "the shared library exports $foreign, wanted rf_ names alone"
