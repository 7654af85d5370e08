#!/bin/bash
# componentize.sh WIT GLUE PACKAGES FOLDER: makes FOLDER/plugin.wasm of FOLDER/sources, once there is
# FOLDER/told/go.
set -eu
wit=$1 glue=$2 packages=$3 folder=$4

# Nothing but the plugin and its packages, whatever environment is active.
mkdir -p "$folder/none/lib/python3.14/site-packages" "$folder/sources" "$folder/told"
# The native modules that packages.sh has taken out, by their names.
{
    echo 'MODULES = frozenset({'
    sed -E 's|(/?[^/.]+)\.[^/]*$|\1|; s|/|.|g; s|.*|    "&",|' "$packages.native"
    echo '})'
} >"$folder/told/mo_router_native.py"

# The plugin finds the folders under their numbers: /0/, /1/.
VIRTUAL_ENV=$folder/none exec componentize-py --quiet --wit-path "$wit" --world plugin componentize mo_router_entry \
    --python-path "$folder/sources" --python-path "$glue" --python-path "$packages" --python-path "$folder/told" \
    --output "$folder/plugin.wasm"
