#!/bin/bash
# strip-debug.sh IN OUT: the WebAssembly module without what only a debugger reads, which is most
# of it, but with the names of functions, so that a failure says where it happened. Zig's linker
# knows only both or neither.
set -eu
in=$1 out=$2
size=$(wc -c <"$in")

# byte AT: the byte there, as a number.
byte() {
    od -An -tu1 -j"$1" -N1 "$in" | tr -d ' '
}

# number: the number at $at as WebAssembly writes it, seven bits a byte; $at is then behind it.
number() {
    local value shift=0
    number=0
    while value=$(byte "$at"); at=$((at + 1)); do
        number=$((number | (value & 127) << shift))
        shift=$((shift + 7))
        [ "$value" -ge 128 ] || break
    done
}

copy() {
    tail -c +$(($1 + 1)) "$in" | head -c $(($2 - $1)) || true # tail may be told too early
}

{
    copy 0 8
    at=8
    while [ "$at" -lt "$size" ]; do
        begin=$at id=$(byte "$at") at=$((at + 1))
        number
        end=$((at + number))
        name=
        if [ "$id" = 0 ]; then
            number
            name=$(copy "$at" $((at + number)))
        fi
        case $name in .debug_*) ;; *) copy "$begin" "$end" ;; esac
        at=$end
    done
} >"$out.new"
mv "$out.new" "$out"
