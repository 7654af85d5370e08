#!/bin/bash
# packages.sh LANGUAGE: gets the packages of this language's reminder into the current folder, a
# project, where its package manager does not do that at each build. Exits with 77, and says why,
# where they cannot be had.
set -eu
sources=${XDG_CACHE_HOME:-$HOME/.cache}/mo-router/sources

# pypi NAME VERSION ARGUMENT...: a package's files, in a folder that this prints.
pypi() {
    local folder=$sources/$1-$2
    if [ ! -e "$folder/complete" ]; then
        rm -rf "$folder"
        mkdir -p "$folder"
        if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps "${@:3}" --dest "$folder" "$1==$2" >&2; then
            echo "the reminder needs $1 $2, which pip cannot download here" >&2
            exit 77
        fi
        python3 -c 'import shutil, sys
for file in sys.argv[2:]:
    shutil.unpack_archive(file, sys.argv[1], "zip" if file.endswith(".whl") else None)' "$folder" "$folder"/*.*
        touch "$folder/complete"
    fi
    echo "$folder"
}

case $1 in
c | zig)
    yyjson=$(pypi yyjson 4.0.6 --no-binary :all:)
    mkdir -p src
    cp "$yyjson"/yyjson-4.0.6/yyjson/yyjson.[ch] src
    ;;
cpp)
    json=$(pypi nlohmann-json 3.12.0)
    cp -r "$json"/nlohmann_json/include/nlohmann .
    ;;
go)
    PATH="$(tools/tools-go.sh):$PATH"
    go get github.com/tidwall/sjson@v1.2.5 2>/dev/null || {
        echo 'the reminder needs github.com/tidwall/sjson, which go cannot get here' >&2
        exit 77
    }
    ;;
esac
