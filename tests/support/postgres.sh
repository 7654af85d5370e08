#!/bin/bash
# Runs PostgreSQL for tests: postgres.sh FOLDER COMMAND..., where COMMAND is the server.
#
# On standard input it takes `crash`, which ends the server as a crash would. When its
# input ends, as it does however the tests end, so does the server, and FOLDER is removed.
set -um
folder=$1
shift

# Job control puts the server in a process group of its own, and Ctrl-C is for the tests:
# their end is seen at the input.
trap '' INT HUP
"$@" </dev/null >>"$folder/log" 2>&1 &
server=$!
crash() {
    kill -QUIT "$server" 2>/dev/null
    # It may be stopped.
    kill -CONT "$server" 2>/dev/null
    wait "$server" 2>/dev/null
}
trap crash EXIT

while read -r command; do
    [ "$command" = crash ] && exit
done
crash
rm -rf "$folder"
