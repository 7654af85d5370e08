#!/bin/bash
# Plugins in C: clang and lld with a libc for WebAssembly, Debian's or those of
# the wasi-sdk in WASI_SDK_PATH, under the wasi-sdk's name: wasm32-wasi-clang.
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

# links CLANG: can it make a plugin? One without the runtime library cannot.
links() {
    "$1" --target=wasm32-wasi -mexec-model=reactor -x c - -o /dev/null 2>/dev/null <<<'void f(void) {}'
}

find_clang() {
    local clang
    for clang in "${WASI_SDK_PATH:-/opt/wasi-sdk}/bin/clang" clang-{22..14} clang; do
        if clang=$(command -v "$clang") && links "$clang"; then
            echo "$clang"
            return
        fi
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

clang=$(find_clang) || { install_clang && clang=$(find_clang); } ||
    skip "C plugins need clang, lld, wasi-libc and libclang-rt-dev-wasm32, or a wasi-sdk in WASI_SDK_PATH, which cannot be installed here"

command=$tools/c/wasm32-wasi-clang
if [ "$(tail -1 "$command" 2>/dev/null)" != "exec $clang --target=wasm32-wasi \"\$@\"" ]; then
    mkdir -p "$tools/c"
    printf '#!/bin/sh\nexec %s --target=wasm32-wasi "$@"\n' "$clang" >"$command"
    chmod +x "$command"
fi
echo "$tools/c"
