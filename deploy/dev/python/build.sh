#!/bin/bash
# build.sh WIT GLUE PACKAGES INPUTS OUT: builds the plugin of the current folder, and says in
# a few lines why it cannot be built. INPUTS is what inputs.sh prints.
set -eu
wit=$1 glue=$2 packages=$3 inputs=$4 out=$5

# Nothing but the plugin and its packages, whatever environment is active.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/none/lib/python3.14/site-packages" "$work/sources" "$work/native"
# The native modules that packages.sh has taken out, by their names.
{
    echo 'MODULES = frozenset({'
    sed -E 's|(/?[^/.]+)\.[^/]*$|\1|; s|/|.|g; s|.*|    "&",|' "$packages.native"
    echo '})'
} >"$work/native/mo_router_native.py"

# Of the plugin exactly the files that the build depends on. What is linked to is in the place of
# the link, which could not be followed out of the folder.
sed -nE 's|^[0-9a-f]+ [ *](\./.*)|\1|p' "$inputs" | tar -chf - -T - | tar -xf - -C "$work/sources"

if VIRTUAL_ENV=$work/none componentize-py --quiet --wit-path "$wit" --world plugin componentize mo_router_entry \
    --python-path "$work/sources" --python-path "$glue" --python-path "$packages" --python-path "$work/native" --output "$out" 2>"$out.log"; then
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

# The report of the exception, and before it what was logged; the rest is componentize-py's own.
report=$(sed -n '/^AssertionError: /,$p' "$out.log" | sed '1s/^AssertionError: //' | sed -n '/^[0-9]*: \|^Stack backtrace\|^Caused by/q;p' | grep -v '^ *[~^]*$' || true)
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
