#!/bin/bash
# beside.sh [--rules] [PATH...]: of these paths, and those on standard input, the ones outside of the
# current folder, whole and a line each: what a plugin is built from besides its own folder. The
# commit in its file and `mo-router plugin dev` look there, too. With --rules, standard input has
# rules of make's, as compilers write them (`OUT: FILE FILE`). Left out are these tools, and what
# package managers have installed: its versions are in files of the plugin's.
set -eu

# Spaces part the files of a rule, but for those after a backslash.
lines() {
    if [ "$is_of_rules" ]; then
        sed -E 's/^([^:\\]|\\.)*: *//; s/ *\\$//; s/^ +//' | sed "s/\\\\ /$(printf '\1')/g" |
            tr ' ' '\n' | tr '\1' ' '
    else
        cat
    fi
}

is_of_rules=
if [ "${1:-}" = --rules ]; then
    is_of_rules=yes
    shift
fi
inside=()
for folder in . "$(dirname "$0")" "${CARGO_TARGET_DIR:-.}"; do
    ! folder=$(cd "$folder" 2>/dev/null && pwd -P) || inside+=("$folder")
done

# Where the links in this folder lead, is part of it.
links() {
    local link
    find . \( -path ./build -o -path ./node_modules -o -name '.?*' -o -name __pycache__ \) -prune -o -type l -print |
        while read -r link; do readlink -f "$link" || true; done
}

{
    lines
    links
    [ $# -eq 0 ] || printf '%s\n' "$@"
} | while read -r path; do
    case $path in
    "${inside[0]}"/* | */node_modules/*) continue ;;
    /* | .. | ../* | */.. | */../*) ;;
    *) continue ;;
    esac
    if [ -d "$path" ]; then
        path=$(cd "$path" && pwd -P)
    elif [ -e "$path" ]; then
        path=$(cd "$(dirname "$path")" && pwd -P)/$(basename "$path")
    else
        continue
    fi
    for folder in "${inside[@]}"; do
        case $path/ in "$folder"/*) continue 2 ;; esac
    done
    echo "$path"
done | LC_ALL=C sort -u
