#!/bin/bash
# once.sh KEY OUT WHAT COMMAND...: says WHAT and runs the command, which writes OUT.new, unless it has
# been run with the same content of the file KEY: then OUT is what was built then. Python and
# JavaScript are started when a plugin is built, and what their memory looks like then differs each
# time: without this an unchanged plugin would be a new version for the router at each build.
#
# What was built is kept for all projects together: the 30 that were used last, for a month, some 600 MB.
# OUT is whole or not there. So is what is kept: its name has the hash of its content, and what has
# another one is built anew.
set -eu
key=$1 out=$2 what=$3
shift 3
builds=${XDG_CACHE_HOME:-$HOME/.cache}/mo-router/builds

# sum FILE: its hash.
sum() {
    { sha256sum "$1" 2>/dev/null || shasum -a 256 "$1"; } | cut -c 1-40
}

mkdir -p "$(dirname "$out")"
trap 'rm -f "$out.new" "$builds/.$$" 2>/dev/null || true' EXIT
name=$(sum "$key")
is_kept=
for built in "$builds/$name"-*.wasm; do
    # Other builds may remove it meanwhile.
    cp "$built" "$out.new" 2>/dev/null || continue
    if [ "$builds/$name-$(sum "$out.new").wasm" = "$built" ]; then
        mv "$out.new" "$out"
        touch -c "$built" 2>/dev/null || true
        exit
    fi
    rm -f "$built" 2>/dev/null || true
done

echo "$what"
"$@"
if mkdir -p "$builds" && cp "$out.new" "$builds/.$$" && mv "$builds/.$$" "$builds/$name-$(sum "$out.new").wasm"; then
    is_kept=yes
else
    echo "what was built cannot be kept in $builds, so the same sources will give another version of the plugin" >&2
fi
mv "$out.new" "$out"

# What has not been used for a month, and all but the newest. Other builds may do the same at once, and
# the folder may be another user's: what cannot be removed is no fault of this build.
if [ -n "$is_kept" ]; then
    {
        find "$builds" -type f -mtime +30 -delete
        # shellcheck disable=SC2012 # the names are ours
        ls -t "$builds"/*.wasm | tail -n +31 | while read -r old; do rm -f "$old"; done
    } 2>/dev/null || true
fi
