#!/bin/bash
# once.sh KEY OUT WHAT COMMAND...: says WHAT and runs the command, which writes OUT, unless it has
# been run with the same content of the file KEY: then OUT is what was built then. Python and
# JavaScript are started when a plugin is built, and what their memory looks like then differs each
# time: without this an unchanged plugin would be a new version for the router at each build.
set -eu
key=$1 out=$2 what=$3
shift 3
builds=${XDG_CACHE_HOME:-$HOME/.cache}/mo-router/builds
built=$builds/$(cksum <"$key" | tr ' ' -)-$({ sha256sum "$key" 2>/dev/null || shasum -a 256 "$key"; } | cut -c 1-40).wasm

mkdir -p "$(dirname "$out")"
if [ -e "$built" ]; then
    touch "$built"
    cp "$built" "$out"
    exit
fi
echo "$what"
"$@"
mkdir -p "$builds"
cp "$out" "$built.$$"
mv "$built.$$" "$built"
# What has not been used for a month, and all but the newest.
find "$builds" -type f -mtime +30 -delete
# shellcheck disable=SC2012 # the names are ours
ls -t "$builds"/*.wasm | tail -n +31 | while read -r old; do rm -f "$old"; done
