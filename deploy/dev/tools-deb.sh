#!/bin/bash
# Debian packages: cargo-deb, which cargo builds where it is missing.
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

version=3.8.0

if have cargo-deb; then
    dirname "$(command -v cargo-deb)"
    exit
fi

root=$tools/cargo-deb-$version
if ! whole "$root" bin/cargo-deb; then
    have cargo || skip 'the Debian package needs cargo-deb, and cargo to build it'
    CARGO_TARGET_DIR=$root/target cargo install --quiet --locked --root "$root" --version "$version" cargo-deb >&2 ||
        skip "the Debian package needs cargo-deb $version, which cargo cannot build here"
    rm -rf "$root/target"
    finished "$root"
fi
echo "$root/bin"
