#!/bin/bash
# build.sh WIT GLUE PACKAGES OUT: builds the plugin of the current folder, and says in
# a few lines why it cannot be built.
set -eu
wit=$1 glue=$2 packages=$3 out=$4

# Nothing but the plugin and its packages, whatever environment is active.
none=$(mktemp -d)
trap 'rm -rf "$none"' EXIT
mkdir -p "$none/lib/python3.14/site-packages"

if VIRTUAL_ENV=$none componentize-py --quiet --wit-path "$wit" --world plugin componentize mo_router_entry \
    --python-path . --python-path "$glue" --python-path "$packages" --output "$out" 2>"$out.log"; then
    rm -f "$out.log"
    exit
fi

# alternative PACKAGE: what to use instead.
alternative() {
    case $1 in
    orjson | ujson | rapidjson | simdjson) echo "json, of the standard library" ;;
    pydantic_core | msgspec) echo "dataclasses, or the packages attrs and cattrs" ;;
    lxml) echo "xml.etree, of the standard library" ;;
    numpy | pandas) echo "statistics and csv, of the standard library" ;;
    cryptography | nacl) echo "hashlib and hmac, of the standard library" ;;
    regex | re2) echo "re, of the standard library" ;;
    ciso8601) echo "datetime.fromisoformat" ;;
    *) echo "a package of pure Python" ;;
    esac
}

# The report of the exception; the rest is componentize-py's own.
report=$(sed -n '/^AssertionError: Traceback/,$p' "$out.log" | sed '1s/^AssertionError: //' | sed -n '/^[0-9]*: \|^Stack backtrace\|^Caused by/q;p' | grep -v '^ *[~^]*$' || true)
if [ -n "$report" ]; then
    echo "$report" | sed -E 's|"/0/|"|; s|"/2/|"build/packages/|' >&2
else
    head -20 "$out.log" >&2
fi
while read -r file; do
    package=${file%%/*}
    package=${package%%.*}
    echo "$package has native code for $(uname -m); it cannot run in WebAssembly; pure alternatives: $(alternative "$package")" >&2
done < <(sort -u -t/ -k1,1 "$packages.native")
exit 1
