#!/bin/bash
# origin.sh VERSION LANGUAGE TOOL...: what a plugin's file says of itself, a line each.
# LANGUAGE and TOOL are a name and a version. The commit is the last one that changed something that
# the plugin can be built from, in this folder or in what build/beside names in the same repository: all
# others leave it as it is. Where git does not say which one that is, there is none, and standard error
# has the reason.
set -eu
# shellcheck source=deploy/dev/left-out.sh
source "$(dirname "$0")/left-out.sh"
version=$1
language=$2
shift 2

echo "version $version"
# Hidden files are left out as by inputs.sh.
sources=(. ':(exclude,glob)**/.*' ':(exclude,glob)**/.*/**' "${left_out[@]/#/:(exclude,glob)**/}")
# What lies beside is left out in the same way. Its name is no pattern: a folder may be called `[old]`.
beside() {
    local path pattern root escaped
    root=$(git rev-parse --show-toplevel 2>/dev/null) && [ -e build/beside ] || return 0
    while IFS= read -r path; do
        [[ $path/ == "$root"/* ]] || continue
        path=${path#"$root"}
        path=${path#/}
        sources+=(":(top,literal)$path")
        escaped=$(printf %s "${path:+$path/}" | sed 's/[][\\*?]/\\&/g')
        for pattern in '.*' '.*/**' "${left_out[@]}"; do sources+=(":(top,exclude,glob)$escaped**/$pattern"); done
    done <build/beside
}
unknown='the plugin will not say its commit'
if command -v git >/dev/null && ! said=$(LC_ALL=C git rev-parse --git-dir 2>&1); then
    [[ $said == *'not a git repository'* ]] || echo "$unknown, because git refuses: $said" >&2
elif beside && commit=$(git log -1 --format=%H -- "${sources[@]}" 2>/dev/null) && [ -n "$commit" ]; then
    # To git the oldest commit of a shallow clone changed everything that is there.
    if grep -qsx "$commit" "$(git rev-parse --git-path shallow)"; then
        echo "$unknown: this clone is shallow, and does not go back to the last change of its files;" \
            "git fetch --unshallow gets the rest, in CI perhaps fetch-depth: 0" >&2
    else
        [ -z "$(git status --porcelain -- "${sources[@]}" 2>/dev/null)" ] || commit+=-dirty
        echo "revision $commit"
    fi
    url=$(git remote get-url origin 2>/dev/null || true)
    case $url in
    # A password is nobody's business.
    https://* | http://* | ssh://*) echo "source $(sed -E 's|^([a-z]+://)[^/@]*@|\1|' <<<"$url")" ;;
    *@*:*) echo "source $(sed -E 's|^[^@]*@([^:]*):|ssh://\1/|' <<<"$url")" ;;
    esac
fi
echo "language $language"
for tool; do echo "tool $tool"; done
