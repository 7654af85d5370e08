#!/bin/bash
# origin.sh VERSION LANGUAGE TOOL...: what a plugin's file says of itself, a line each.
# LANGUAGE and TOOL are a name and a version. The commit is the last one that changed
# something in this folder that the plugin can be built from, so that others leave it as it is.
set -eu
# shellcheck source=deploy/dev/left-out.sh
source "$(dirname "$0")/left-out.sh"
version=$1
language=$2
shift 2

echo "version $version"
# Hidden files are left out as by inputs.sh.
sources=(. ':(exclude,glob)**/.*' ':(exclude,glob)**/.*/**' "${left_out[@]/#/:(exclude,glob)**/}")
if commit=$(git log -1 --format=%H -- "${sources[@]}" 2>/dev/null) && [ -n "$commit" ]; then
    [ -z "$(git status --porcelain -- "${sources[@]}" 2>/dev/null)" ] || commit+=-dirty
    echo "revision $commit"
    url=$(git remote get-url origin 2>/dev/null || true)
    case $url in
    # A password is nobody's business.
    https://* | http://* | ssh://*) echo "source $(sed -E 's|^([a-z]+://)[^/@]*@|\1|' <<<"$url")" ;;
    *@*:*) echo "source $(sed -E 's|^[^@]*@([^:]*):|ssh://\1/|' <<<"$url")" ;;
    esac
fi
echo "language $language"
for tool; do echo "tool $tool"; done
