#!/bin/bash
# Builds that begin before the sources are there. componentize-py and componentize-js take most of their
# time for what is the same whatever the sources are, and keep none of it for the next time.
#
# ahead.sh begin NEXT KEY COMMAND...: runs the command with a new folder as its last argument, into which
#     it writes, and in which it looks at sources only once there is told/go. NEXT is a link to the folder.
#     Ends with the command, and ends it when standard input ends, or when it is of no use any more.
# ahead.sh take NEXT KEY PROCESS: prints the folder of a build whose file KEY had the same content, if there
#     is one: it is now for the caller, of this PROCESS, who puts the sources there.
# ahead.sh finish FOLDER: tells it to go on, waits for its end and ends as it did, or with 75 if it was
#     ended before. What it printed is in FOLDER/log. The caller removes the folder.
set -eu

# since PROCESS: when it was started, if it still runs. After a restart of the machine another one may have
# its number, and one that has ended may wait for a parent that does not look at it.
since() {
    if [ -d /proc/self ]; then
        sed -n 's/.*) [^ZX] //p' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 19
    else
        LC_ALL=C ps -o stat= -o lstart= -p "$1" | sed '/^Z/d; s/^[^ ]* *//'
    fi
}

# runs FOLDER: does the build there still run? Then this is the process.
runs() {
    local since
    process=$(sed -n 1p "$1/process" 2>/dev/null) && [ -n "$process" ] || return 1
    since=$(since "$process")
    [ -n "$since" ] && [ "$since" = "$(sed -n 2p "$1/process")" ]
}

# is_of_use NEXT FOLDER: is it the next build, or is somebody about to finish it?
is_of_use() {
    [ -e "$2/key" ] || return 1
    if [ -s "$2/taker" ]; then kill -0 "$(cat "$2/taker")" 2>/dev/null; else [ "$(readlink "$1")" = "${2##*/}" ]; fi
}

begin() {
    local next=$1 key=$2 folder build reader watch old
    shift 2
    exec 3<&0
    mkdir -p "$(dirname "$next")"
    # What is left of those whose end nobody saw.
    for old in "$next".*/; do
        # One that was taken may be over, and what it made not yet moved away.
        if [ -d "$old" ] && ! { is_of_use "$next" "${old%/}" && { [ -s "$old/taker" ] || runs "${old%/}"; }; }; then rm -rf "$old"; fi
    done
    folder=$(mktemp -d "$next.XXXXXX")
    mkdir "$folder/told" "$folder/tmp"
    export TMPDIR=$PWD/$folder/tmp
    cp "$key" "$folder/key"
    # In a process group of its own, which is ended as a whole.
    set -m
    {
        status=0
        "$@" "$folder" || status=$?
        echo "$status" >"$folder/status.new"
        mv "$folder/status.new" "$folder/status"
    } >"$folder/log" 2>&1 </dev/null 3<&- &
    build=$!
    set +m
    printf '%s\n' "$build" "$(since "$build")" >"$folder/process"
    ln -sfn "${folder##*/}" "$next"

    # These two outlive an interrupt from the terminal, which ends the rest.
    {
        trap '' INT HUP QUIT
        exec cat <&3 >/dev/null
    } &
    reader=$!
    {
        trap '' INT HUP QUIT
        while kill -0 "$reader" && is_of_use "$next" "$folder"; do sleep 1; done
        kill -9 -- -"$build"
        rm -rf "$folder"
        kill "$reader"
    } >/dev/null 2>&1 3<&- &
    watch=$!
    { wait "$build"; } 2>/dev/null || true
    kill "$watch" "$reader" 2>/dev/null || true
    # Also of a group whose first process alone was ended.
    kill -9 -- -"$build" 2>/dev/null || true
    [ -e "$folder/status" ] && [ -e "$folder/taker" ] || rm -rf "$folder"
}

take() {
    local next=$1 key=$2 folder
    folder=$(readlink "$next") || return 1
    folder=$(dirname "$next")/$folder
    if ! { cmp -s "$key" "$folder/key" && [ ! -e "$folder/status" ] && runs "$folder"; }; then
        # It is of no use, and soon gone.
        rm -f "$next"
        return 1
    fi
    # Only one can.
    mkdir "$folder/taken" 2>/dev/null || return 1
    echo "$3" >"$folder/taker"
    rm -f "$next"
    echo "$folder"
}

finish() {
    local status
    touch "$1/told/go" 2>/dev/null || return 75
    until [ -e "$1/status" ]; do
        runs "$1" || [ -e "$1/status" ] || return 75
        sleep 0.05
    done
    status=$(cat "$1/status" 2>/dev/null) || return 75
    # More than 128: a signal, perhaps for want of memory.
    [ "${status:-129}" -le 128 ] || return 75
    return "$status"
}

"$@"
