#!/bin/bash
# Installs those of the named Debian packages that are missing.
set -eu

missing=()
for package in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "packages.sh: there is no apt-get here; please install: ${missing[*]}" >&2
    exit 1
fi

if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    echo "packages.sh: neither root nor sudo; please have these packages installed: ${missing[*]}" >&2
    exit 1
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=600 "${missing[@]}" >/dev/null
}

echo "Installing ${missing[*]}" >&2
# A fresh machine has no package lists, an old one has stale ones; they are
# fetched only if that is what the first try fails on.
install 2>/dev/null || { as_root apt-get update -qq && install; }
