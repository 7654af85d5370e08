# shellcheck shell=bash
# What the tools-LANGUAGE.sh scripts share. Each makes sure that the tools for
# plugins in its language are there, installing them only if they are missing,
# and prints the folder to put in front of PATH; all else goes to stderr. Where
# the tools cannot be had, it says why in one line and exits with status 77:
# whoever builds several languages reports that one as skipped.
#
# Sourced, not run.
set -eu

here=$(dirname "$0")
tools=${XDG_CACHE_HOME:-$HOME/.cache}/mo-router/tools
mkdir -p "$tools"

# Several builds may ask at once: one installs, the others wait for it.
if command -v flock >/dev/null; then
    exec 9>"$tools/.lock"
    flock 9
fi

# skip REASON: gives up.
skip() {
    echo "$*" >&2
    exit 77
}

have() {
    command -v "$1" >/dev/null
}

# install PACKAGE...: Debian's, quietly; fails where that is not possible.
install() {
    "$here/packages.sh" "$@" 9>&- >&2 2>/dev/null
}

# whole FOLDER COMMAND: are the tools there that were installed in it? It counts as used.
whole() {
    [ -e "$1/complete" ] && [ -x "$1/$2" ] && { touch -c "$1/complete" 2>/dev/null || true; }
}

# finished FOLDER: they are. Other versions that no project has used for three months are removed.
finished() {
    touch "$1/complete"
    find "$tools" -mindepth 2 -maxdepth 2 -name complete -mtime +90 | while read -r old; do
        rm -rf "$(dirname "$old")" 2>/dev/null || true
    done
}

# from_pypi PACKAGE VERSION: installs it into an environment of its own and prints
# the folder of its commands.
from_pypi() {
    local venv=$tools/$1-$2
    # With a new version of the machine's Python the environment has nothing any more.
    if ! whole "$venv" bin/python3 || ! is_of_its_python "$venv"; then
        echo "installing $1 $2" >&2
        python3 -c 'import ensurepip, venv' 2>/dev/null || install python3 python3-venv || return
        python3 -m venv --clear "$venv" >&2 || return
        "$venv/bin/pip" install --quiet --disable-pip-version-check "$1==$2" >&2 || return
        readlink -f "$venv/bin/python3" >"$venv/complete"
        finished "$venv"
    fi
    echo "$venv/bin"
}

# is_of_its_python ENVIRONMENT: is the Python behind it the one that it was made with?
is_of_its_python() {
    local was
    was=$(cat "$1/complete")
    [ -z "$was" ] || [ "$was" = "$(readlink -f "$1/bin/python3")" ]
}
