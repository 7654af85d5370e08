#!/bin/bash
# beside.sh: the files and folders outside of the current one that build.zig and build.zig.zon name, and
# those of the packages there.
set -eu

show() {
    local file named
    [ "${#FUNCNAME[@]}" -lt 9 ] || return 0
    for file in "$1/build.zig" "$1/build.zig.zon"; do
        [ -e "$file" ] || continue
        { grep -v '^ *//' "$file" | grep -oE '"\.\.(/[^"]*)?"' || true; } | tr -d '"' | while read -r named; do
            echo "$1/$named"
            show "$1/$named"
        done
    done
}

show .
