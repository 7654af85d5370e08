#!/bin/bash
# packages.sh FOLDER: installs what requirements.txt asks for into FOLDER, for the
# Python that componentize-py brings. Code for this machine's processor is taken
# out of it: it cannot run in WebAssembly, and many packages do without.
set -eu
folder=$1
guest=3.14 # what componentize-py brings

rm -rf "$folder" "$folder.new"
mkdir -p "$folder.new"
if [ -s requirements.txt ]; then
    echo 'installing the packages of requirements.txt'
    # setuptools writes beside the sources of a package that lies on this machine, and takes from there
    # what it has written before, also modules that are gone.
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    printf '[build]\nbuild_base = %s\n[egg_info]\negg_base = %s\n' "$work" "$work" >"$work/setuptools.cfg"
    export DIST_EXTRA_CONFIG=$work/setuptools.cfg
    install=(python3 -m pip install --quiet --disable-pip-version-check --no-compile --target "$folder.new" -r requirements.txt)
    # First as that Python would choose; what has no wheel at all is built here.
    "${install[@]}" --only-binary=:all: --python-version "$guest" 2>"$folder.log" ||
        { rm -rf "$folder.new" && "${install[@]}" >&2; }
    editable=$(find "$folder.new" -maxdepth 1 -name '__editable__*.pth' -printf '%f\n' | sed 's/^__editable__\.//; s/\.pth$//')
    if [ -n "$editable" ]; then
        echo "requirements.txt: $editable would only be linked to, and is no part of the plugin: name its folder without -e" >&2
        exit 1
    fi
fi
find "$folder.new" -name '*.so' -o -name '*.pyd' | sed "s|^$folder.new/||" | sort >"$folder.native"
find "$folder.new" \( -name '*.so' -o -name '*.pyd' \) -delete
mv "$folder.new" "$folder"
