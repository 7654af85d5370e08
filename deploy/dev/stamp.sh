#!/bin/bash
# stamp.sh IN ORIGIN OUT NAME: adds to a WebAssembly file what it says of itself, as the
# custom sections that `wasm-tools metadata` reads: version, revision, source, producers and
# its name, in place of the file's that linkers write. ORIGIN is what origin.sh prints.
set -eu
in=$1 origin=$2 out=$3 name=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# number N: N as WebAssembly writes it, seven bits a byte.
# shellcheck disable=SC2059 # printf makes bytes of what is in its format
number() {
    local n=$1
    while [ "$n" -ge 128 ]; do
        printf "\\x$(printf %02x $((n % 128 + 128)))"
        n=$((n / 128))
    done
    printf "\\x$(printf %02x "$n")"
}

# text TEXT: its length and itself.
text() {
    number "$(printf %s "$1" | wc -c)"
    printf %s "$1"
}

# sized: standard input, with its size before it.
sized() {
    cat >"$work/sized.$1"
    number "$(wc -c <"$work/sized.$1")"
    cat "$work/sized.$1"
}

# section NAME: standard input as a custom section.
section() {
    printf '\0'
    { text "$1" && cat; } | sized section
}

# values KEY: the lines of this key, each a name and perhaps a version.
values() {
    number "$(grep -c "^$1 " "$origin")"
    sed -n "s/^$1 //p" "$origin" | while read -r tool version; do
        text "$tool"
        text "$version"
    done
}

{
    cat "$in"
    for key in version revision source; do
        value=$(sed -n "s/^$key //p" "$origin")
        [ -z "$value" ] || printf %s "$value" | section "$key"
    done
    {
        number 2
        text language && values language
        text processed-by && values tool
    } | section producers
    # A component or a module. Of two names the last one counts.
    kind=component-name
    [ "$(od -An -tx1 -j6 -N1 "$in" | tr -d ' ')" != 00 ] || kind=name
    { number 0 && text "$name" | sized name; } | section "$kind"
} >"$out.new"
mv "$out.new" "$out"
