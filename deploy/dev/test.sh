#!/bin/bash
# Tests everything, after installing what that takes: make test
set -eu
cd "$(dirname "$0")/../.."
dev=deploy/dev

# The tests start servers of their own from these.
$dev/packages.sh rabbitmq-server postgresql
PATH="$($dev/python.sh):$PATH"
export PATH

# Whether the tools for the example $1 are here or can be had; says why not.
has_tools() {
    local language status=0
    language=$(sed -n 's|.*/\(.*\)-plugin.mk|\1|p' "$1/Makefile")
    [ -x "$dev/tools-$language.sh" ] || return 0
    "$dev/tools-$language.sh" >/dev/null || status=$?
    # 77 says that they cannot be had, anything else is a fault.
    case $status in 0) ;; 77) return 1 ;; *) exit "$status" ;; esac
}

skipped=()
for makefile in examples/*/Makefile; do
    example=$(dirname "$makefile")
    if has_tools "$example"; then
        make --no-print-directory -C "$example" all test
    else
        skipped+=("$example")
    fi
done
cargo test --release

for example in "${skipped[@]}"; do
    echo "SKIPPED $example, for want of tools: the reason is above" >&2
done
