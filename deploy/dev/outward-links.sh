#!/bin/bash
# In a copy of docs/, has links that lead out of it lead to the repository: outward-links.sh FOLDER
set -eu
repository=https://github.com/OS2mo/mo-router/blob/main
sed -i "s|](\.\./|]($repository/|g" "$1"/*.md
find "$1" -mindepth 2 -name '*.md' -exec sed -i "s|](\.\./\.\./|]($repository/|g" {} +
