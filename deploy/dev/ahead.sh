#!/bin/bash
# Builds that begin before the sources are there. componentize-py and componentize-js take most of their
# time for what is the same whatever the sources are, and keep none of it for the next time.
#
# ahead.sh begin FOLDER KEY COMMAND...: runs the command, which writes into FOLDER and looks at sources only
#     once there is FOLDER/told/go. It ends with the command, and ends the command with standard input.
# ahead.sh take FOLDER KEY: is there such a build, of the same content of the file KEY? Then it is the
#     caller's, who puts the sources into FOLDER; one with another key is ended.
# ahead.sh finish FOLDER: tells it to go on, waits for its end and ends as it did, or with 75 if that is
#     not known, because somebody has ended it. What it printed is in FOLDER/log.
set -eu
what=$1 folder=$2
shift 2

begin() {
    local key=$1 build watch
    shift
    # Somebody else's, who works on the same plugin.
    ! runs || return 0
    exec 3<&0
    rm -rf "$folder"
    mkdir -p "$folder/told" "$folder/tmp"
    export TMPDIR=$PWD/$folder/tmp
    cp "$key" "$folder/key"
    # Each in a process group of its own, which is ended as a whole.
    set -m
    {
        status=0
        "$@" || status=$?
        echo "$status" >"$folder/status.new"
        mv "$folder/status.new" "$folder/status"
    } >"$folder/log" 2>&1 </dev/null 3<&- &
    build=$!
    {
        until [ ! -e "$folder/key" ]; do
            # More than 128 says that the time is over, else nobody is there any more.
            status=0
            read -r -t 1 <&3 || status=$?
            [ "$status" -eq 0 ] || [ "$status" -gt 128 ] || break
        done
        kill -- -"$build"
    } 2>/dev/null &
    watch=$!
    disown "$watch"
    printf '%s\n' "$build" "$(since "$build")" >"$folder/process.new"
    mv "$folder/process.new" "$folder/process"
    { wait "$build" || true; } 2>/dev/null
    kill -- -"$watch" 2>/dev/null || true
    [ -e "$folder/status" ] || rm -rf "$folder"
}

# since PROCESS: when it was started. After a restart of the machine another one may have its number.
since() {
    if [ -d /proc/self ]; then
        sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
    else
        LC_ALL=C ps -o lstart= -p "$1"
    fi
}

runs() {
    [ -e "$folder/process" ] && process=$(sed -n 1p "$folder/process") &&
        [ -n "$process" ] && [ "$(since "$process")" = "$(sed -n 2p "$folder/process")" ]
}

take() {
    [ -e "$folder/key" ] && runs || return 1
    cmp -s "$1" "$folder/key" && mkdir "$folder/taken" 2>/dev/null && return
    [ -e "$folder/taken" ] || kill -- -"$process" 2>/dev/null || true
    return 1
}

finish() {
    touch "$folder/told/go" 2>/dev/null || return 75
    until [ -e "$folder/status" ]; do
        runs || [ -e "$folder/status" ] || return 75
        sleep 0.02
    done
    return "$(cat "$folder/status")"
}

"$what" "$@"
