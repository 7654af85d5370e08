#!/bin/bash
# requirements.sh: everything that the packages of the current folder's plugin follow from:
# requirements.txt, the files that it names with -r and -c, and those of packages that lie on this
# machine.
set -eu
hash=(sha256sum)
command -v sha256sum >/dev/null || hash=(shasum -a 256)

# show FILE: a file of requirements, and what it names. One that is not there is named by pip, and
# files that name one another in a circle are, too.
show() {
    local file=$1 named
    [ -e "$file" ] && [ "${#FUNCNAME[@]}" -lt 8 ] || return 0
    echo "# $file"
    cat "$file"
    # Other files, from its folder.
    sed -nE 's/^[[:space:]]*(-r|-c|--requirement|--constraint)[[:space:]=]*([^[:space:]#]+).*/\2/p' "$file" |
        while read -r named; do
            case $named in
            /*) show "$named" ;;
            *) show "$(dirname "$file")/$named" ;;
            esac
        done
    # Packages here, from the current folder: ./words, -e ../words, words @ file:///srv/words.
    sed -nE -e 's/^[[:space:]]*(-e|--editable)?[[:space:]=]*([^[:space:];#]*\/[^[:space:];#]*).*/\2/p' \
        -e 's/^[^#]*@[[:space:]]*file:(\/\/)?([^[:space:];#]+).*/\2/p' "$file" |
        while read -r named; do
            echo "# $named"
            [ ! -e "$named" ] || find -L "$named" \( -name '.?*' -o -name __pycache__ \) -prune -o -type f -print0 |
                LC_ALL=C sort -z | xargs -0 "${hash[@]}"
        done
}

show requirements.txt
