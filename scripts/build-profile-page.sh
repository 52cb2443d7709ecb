#!/bin/bash
# Bundles apps/profile-page into one HTML file, with the packages of its package-lock.json, which are installed below
# .deps/profile-page when they are not there yet. Wants node and npm; building refusion itself needs neither.
#   scripts/build-profile-page.sh                  writes apps/profile-page/dist/profile.html, which is committed
#   scripts/build-profile-page.sh --packages       installs the packages, and that is all
#   scripts/build-profile-page.sh --check FILE     writes FILE; exit status 1 if the committed page differs
# Exit status 77: there is no node or npm here, or the packages cannot be had.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
exec </dev/null

page=apps/profile-page packages=.deps/profile-page output=apps/profile-page/dist/profile.html
case "${1-}" in
'' | --packages) ;;
--check) output=${2:?--check wants a file to write} ;;
*) sed -n '2,7s/^# //p' scripts/build-profile-page.sh >&2; exit 2 ;;
esac
for tool in node npm; do
    command -v $tool >/dev/null || { echo "build-profile-page: no $tool here" >&2; exit 77; }
done

if ! cmp -s $page/package-lock.json $packages/installed; then
    rm -rf $packages && mkdir -p $packages
    cp $page/{package.json,package-lock.json,.npmrc} $packages/
    if ! (cd $packages && npm ci --loglevel=error >&2); then
        echo "build-profile-page: the packages of $page/package-lock.json cannot be installed" >&2
        exit 77
    fi
    cp $page/package-lock.json $packages/installed
fi
[ "${1-}" != --packages ] || exit 0

mkdir -p "$(dirname "$output")"
node $page/build.mjs $packages/node_modules "$output"
if [ "${1-}" = --check ] && ! cmp "$output" $page/dist/profile.html >&2; then
    echo "build-profile-page: $page/dist/profile.html is not what its sources give;" \
        "run scripts/build-profile-page.sh" >&2
    exit 1
fi
