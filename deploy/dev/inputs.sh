#!/bin/bash
# inputs.sh [FILE...]: the hashes of all files of the current folder that a plugin can be
# built from, and of the files named. What is built, or belongs to tools, is left out.
set -eu
hash=(sha256sum)
command -v sha256sum >/dev/null || hash=(shasum -a 256)
{
    find . \( -path ./build -o -path ./plugins -o -path ./target -o -path ./node_modules -o -name .git -o -name .venv \
        -o -name __pycache__ -o -name .mypy_cache -o -name .pytest_cache \) -prune -o -type f -print0
    [ $# -eq 0 ] || printf '%s\0' "$@"
} | LC_ALL=C sort -z | xargs -0 "${hash[@]}"
