#!/bin/bash
# Plugins in Zig and C++: Zig, which has clang and a libc and libc++ for WebAssembly in it.
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

version=0.17.0

if have zig && [ "$(zig version)" = "$version" ]; then
    dirname "$(command -v zig)"
    exit
fi
venv=$(from_pypi ziglang "$version") ||
    skip "Zig and C++ plugins need Zig $version, which pip cannot install here; here is $(zig version 2>/dev/null || echo none)"
dirname "$venv"/../lib/python*/site-packages/ziglang/zig
