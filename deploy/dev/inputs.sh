#!/bin/bash
# inputs.sh [FILE...]: the hashes of all files of the current folder that a plugin can be
# built from, and of the files named; files and folders that are linked to are part of it. What is
# built, or belongs to tools, is left out: hidden files do, as for `mo-router plugin dev`, and the
# plugins that `make install` puts into plugins/.
set -eu
# shellcheck source=deploy/dev/left-out.sh
source "$(dirname "$0")/left-out.sh"
others=()
for name in "${left_out[@]}"; do others+=(! -name "$name"); done
hash=(sha256sum)
command -v sha256sum >/dev/null || hash=(shasum -a 256)
{
    find -L . \( -path ./build -o -path ./node_modules -o -name '.?*' -o -name __pycache__ \) -prune \
        -o -type f "${others[@]}" ! -path './plugins/*.wasm' -print0
    [ $# -eq 0 ] || printf '%s\0' "$@"
} | LC_ALL=C sort -z | xargs -0 "${hash[@]}"
