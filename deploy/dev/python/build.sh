#!/bin/bash
# build.sh WIT GLUE PACKAGES INPUTS OUT: builds the plugin of the current folder, and says in
# a few lines why it cannot be built. INPUTS is what inputs.sh prints.
set -eu
wit=$1 glue=$2 packages=$3 inputs=$4 out=$5
here=$(dirname "$0")

# sources FOLDER: puts there exactly the files of the plugin that the build depends on. What is linked to
# is in the place of the link, which could not be followed out of the folder.
sources() {
    mkdir -p "$1"
    sed -nE 's|^[0-9a-f]+ [ *](\./.*)|\1|p' "$inputs" | tar -chf - -T - | tar -xf - -C "$1"
}

work=$(mktemp -d)
taken=
trap 'rm -rf "$work" "$taken"' EXIT
sources "$work/sources"
status=75
# componentize-py looks for native code and settings before it begins.
if [ -z "$(find "$work/sources" -name '*.so' -o -name componentize-py.toml)" ] &&
    taken=$("$here/../ahead.sh" take build/next build/next.key $$); then
    if cp -R "$work/sources/." "$taken/sources"; then
        status=0
        "$here/../ahead.sh" finish "$taken" || status=$?
    fi
fi
if [ "$status" -ne 75 ]; then
    mv "$taken/log" "$work"
    [ "$status" -ne 0 ] || mv "$taken/plugin.wasm" "$work"
else
    mkdir -p "$work/told"
    touch "$work/told/go"
    status=0
    "$here/componentize.sh" "$wit" "$glue" "$packages" "$work" >"$work/log" 2>&1 || status=$?
fi
if [ "$status" -eq 0 ]; then
    mv "$work/plugin.wasm" "$out"
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
report=$(sed -n '/^AssertionError: /,$p' "$work/log" | sed '1s/^AssertionError: //' | sed -n '/^[0-9]*: \|^Stack backtrace\|^Caused by/q;p' | grep -v '^ *[~^]*$' || true)
if [ -n "$report" ]; then
    echo "$report" | sed -E 's|"/0/|"|; s|"/2/|"build/packages/|' >&2
else
    head -20 "$work/log" >&2
fi
while read -r file; do
    package=${file%%/*}
    package=${package%%.*}
    echo "$package has native code for $(uname -m); it cannot run in WebAssembly; pure alternatives: $(alternative "$package")" >&2
done < <(sort -u -t/ -k1,1 "$packages.native")
exit 1
