#!/bin/bash
# Plugins in C: clang and lld with a libc for WebAssembly, Debian's or those of
# the wasi-sdk in WASI_SDK_PATH, under the wasi-sdk's name: wasm32-wasi-clang.
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

# links COMMAND...: can it make a plugin? One without the C library or the runtime library cannot.
links() {
    "$@" -mexec-model=reactor -x c - -o /dev/null 2>/dev/null <<<'#include <stdlib.h>'
}

# The target has a new name, wasm32-wasip1, under which Debian's wasi-libc is not found; under the
# old one clang warns of it each time. The warnings of deprecated functions are others.
find_clang() {
    local clang target
    for clang in "${WASI_SDK_PATH:-/opt/wasi-sdk}/bin/clang" clang-{22..14} clang; do
        clang=$(command -v "$clang") || continue
        for target in --target=wasm32-wasip1 '--target=wasm32-wasi -Wno-deprecated -Wdeprecated-declarations'; do
            # shellcheck disable=SC2086 # these are words
            if links "$clang" $target; then
                echo "$clang $target"
                return
            fi
        done
    done
    return 1
}

# The runtime library is what not every version of clang has a package for.
install_clang() {
    local version
    install wasi-libc || return
    version=$(apt-cache pkgnames libclang-rt- | sed -nE 's/^libclang-rt-([0-9]+)-dev-wasm32$/\1/p' | sort -n | tail -1)
    install "clang-$version" "lld-$version" "libclang-rt-$version-dev-wasm32"
}

command=$tools/c/wasm32-wasi-clang

# To try which one works takes as long as to compile a plugin. It is tried again where another one may
# have come: what is looked through has changed, or a program was installed beside the one that was found.
places="# $(printf '%s\n' "${WASI_SDK_PATH:-}" "$PATH" | cksum)"
found=$(sed -n 's/^exec \([^ ]*\) .*/\1/p' "$command" 2>/dev/null) || true
if [ -n "$found" ] && [ -x "$found" ] && [ ! "$(dirname "$found")" -nt "$command" ] &&
    [ "$(sed -n 2p "$command")" = "$places" ]; then
    echo "$tools/c"
    exit
fi

clang=$(find_clang) || { install_clang && clang=$(find_clang); } ||
    skip "C plugins need clang, lld, wasi-libc and libclang-rt-dev-wasm32, or a wasi-sdk in WASI_SDK_PATH, which cannot be installed here"

mkdir -p "$tools/c"
printf '#!/bin/sh\n%s\nexec %s "$@"\n' "$places" "$clang" >"$command.new"
chmod +x "$command.new"
mv "$command.new" "$command"
echo "$tools/c"
