#!/bin/bash
# Prints the folder of a Python that has the packages of examples/requirements.txt,
# after making it where it is missing.
set -eu
requirements=$(dirname "$0")/../../examples/requirements.txt
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mo-router
venv=$cache/python-$(sha256sum "$requirements" | cut -c 1-16)

if [ ! -e "$venv/complete" ]; then
    python3 -c 'import ensurepip, venv' 2>/dev/null \
        || "$(dirname "$0")/packages.sh" python3 python3-venv
    echo "Making $venv" >&2
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
    touch "$venv/complete"
fi
echo "$venv/bin"
