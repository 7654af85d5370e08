#!/bin/bash
# Makes the Debian package from target/release/mo-router, which must be built:
# build.sh [--fast] [--version VERSION] [--output FOLDER], fast being larger. Prints the package's file name; all else goes to stderr.
# Skips with status 77 where cargo-deb cannot be had.
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
program=$target/release/mo-router
assets=$target/release/deb-assets

options=()
# Not cargo-deb's own folder, which it empties each time.
output=$target/packages/
while [ $# -gt 0 ]; do
    case $1 in
    --fast) options+=(--fast) ;;
    --version) options+=(--deb-version "$2"); shift ;;
    --output) output=$2; shift ;;
    *) echo "build.sh: what is $1?" >&2; exit 2 ;;
    esac
    shift
done

if [ ! -x "$program" ]; then
    echo "build.sh: there is no $program: make build" >&2
    exit 1
fi

deb=$(deploy/dev/tools-deb.sh) || exit

mkdir -p "$assets"
"$program" man | gzip -9n >"$assets/mo-router.1.gz"
"$program" completions bash >"$assets/mo-router.bash"
"$program" completions zsh >"$assets/_mo-router"
"$program" completions fish >"$assets/mo-router.fish"

# With what the pages show, link and name: they are read where they are installed.
documentation=$assets/documentation
rm -rf "$documentation"
mkdir -p "$documentation/examples"
cp -r README.md CHANGELOG.md CONTRIBUTING.md LICENSE SECURITY.md docs wit "$documentation"
cp examples/consumer.py "$documentation/examples"
deploy/dev/outward-links.sh "$documentation/docs"

# cargo-deb reads the packages' lists for the dependencies.
umask 022
PATH=$deb:$PATH cargo deb --quiet --no-build --output "$output" "${options[@]}" | tail -1
