#!/bin/bash
# inputs.sh [FILE...]: the hashes of all files of the current folder that a plugin can be
# built from, and of the files named. What is built, or belongs to tools, is left out: hidden
# files do, as for `mo-router plugin dev`.
set -eu
# shellcheck source=deploy/dev/left-out.sh
source "$(dirname "$0")/left-out.sh"
others=()
for name in "${left_out[@]}"; do others+=(! -name "$name"); done
hash=(sha256sum)
command -v sha256sum >/dev/null || hash=(shasum -a 256)
{
    find . \( -path ./build -o -path ./plugins -o -path ./target -o -path ./node_modules -o -name '.?*' \
        -o -name __pycache__ \) -prune -o -type f "${others[@]}" -print0
    [ $# -eq 0 ] || printf '%s\0' "$@"
} | LC_ALL=C sort -z | xargs -0 "${hash[@]}"
