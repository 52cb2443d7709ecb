#!/bin/bash
# install.sh BUILD PREFIX: installs the build into PREFIX, by way of another folder, so that whatever remembers where it
# was put does not work.
set -euo pipefail
build=$1 prefix=$2
rm -rf "$prefix" "$prefix.before"
cmake --install "$build" --prefix "$prefix.before" >/dev/null
mv "$prefix.before" "$prefix"
