#!/bin/bash
# describe_abi.sh PREFIX: what the installed library's functions are, with all types that the header shows, as XML. Needs
# debug information in the library and abidw, of the package abigail-tools.
set -euo pipefail
library=$(find "$1" -name 'librefusion.so.*.*')
# Whatever the header does not show (the inside of a context) and what depends on the machine is left out.
exec abidw --headers-dir "$1/include" --drop-private-types --exported-interfaces-only --drop-undefined-syms \
    --no-show-locs --no-comp-dir-path --no-corpus-path --no-elf-needed --type-id-style hash "$library"
