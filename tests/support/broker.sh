#!/bin/bash
# Runs RabbitMQ for tests: broker.sh FOLDER PORT COUNT
#
# It has COUNT virtual hosts: test0, test1, … On standard input it takes `kill` (with
# SIGKILL), `start` (with the same data), `freeze`, `thaw`, `settle`, `hosts FROM TO` (which makes the
# virtual hosts testFROM to the one before testTO), and `ctl` with what rabbitmqctl is to do, whose
# output it gives as one line. When its input ends, as it does however the tests end, the
# broker is killed and FOLDER removed.
set -eum
folder=$1
port=$2
count=$3
runner=$(dirname "$0")/../../deploy/dev/rabbitmq.sh

# The definitions of the virtual hosts from one number up to another, with a user for them.
definitions() {
    local number vhosts=() permissions=() IFS=,
    for ((number = $1; number < $2; number++)); do
        vhosts+=("{\"name\":\"test$number\"}")
        permissions+=("{\"user\":\"guest\",\"vhost\":\"test$number\",\"configure\":\".*\",\"write\":\".*\",\"read\":\".*\"}")
    done
    echo "{\"users\":[{\"name\":\"guest\",\"password\":\"guest\",\"tags\":\"administrator\"}],"
    echo "\"vhosts\":[${vhosts[*]}],\"permissions\":[${permissions[*]}]}"
}

root=${DEV_RABBITMQ_ROOT:-}
tool=$(find "$root/usr/lib/rabbitmq/lib" -path '*/sbin/rabbitmqctl' -print -quit 2>/dev/null || true)
if [ -z "$tool" ]; then
    echo 'RabbitMQ is not installed: deploy/dev/packages.sh rabbitmq-server' >&2
    exit 1
fi
mkdir -p "$folder/conf.d"
definitions 0 "$count" >"$folder/definitions.json"
# The tests' clients have no heartbeat: a test that builds a plugin may send none for minutes. The
# routers ask for their own.
cat >"$folder/conf.d/10-tests.conf" <<END
load_definitions = $folder/definitions.json
heartbeat = 0
END
export RABBITMQ_CONFIG_FILES="$folder/conf.d"

# Job control puts it in a process group of its own, which can be killed whole. Ctrl-C
# is for the tests: their end is seen at the input.
trap '' INT HUP
start() {
    "$runner" "$folder" "$port" </dev/null >>"$folder/console.log" 2>&1 &
    broker=$!
}
end() {
    kill -KILL -- "-$broker" 2>/dev/null || true
    wait "$broker" || true
}

ctl() {
    HOME=$folder ERL_EPMD_PORT=${DEV_RABBITMQ_EPMD_PORT:-$((port + 4000))} \
        ${root:+nsenter --mount --target "$broker" chroot "$root"} "${tool#"$root"}" \
        --quiet --node "mo-router-$port@localhost" "$@" \
        </dev/null 2>>"$folder/console.log"
}

# Writes to disk what the broker knows of its queues and bindings. It does so late, and
# after a crash does not know one that is younger.
settle() {
    ctl eval '[ok = dets:sync(Table) || Table <- dets:all()], ok = mnesia:sync_log().' >/dev/null
}

start
while read -r command arguments; do
    case $command in
        kill) end 2>/dev/null && echo killed ;;
        start) start ;;
        settle)
            # It listens a little before it is up.
            until settle; do sleep 1; done
            echo settled
            ;;
        freeze) kill -STOP -- "-$broker" && echo frozen ;;
        thaw) kill -CONT -- "-$broker" && echo thawed ;;
        hosts)
            read -r from to <<<"$arguments"
            definitions "$from" "$to" >"$folder/more.json"
            until ctl import_definitions "$folder/more.json" >>"$folder/console.log"; do sleep 1; done
            echo made
            ;;
        ctl)
            IFS=$'\x1f' read -ra words <<<"$arguments"
            until answer=$(ctl "${words[@]}"); do sleep 1; done
            echo "${answer//$'\n'/$'\x1f'}"
            ;;
    esac
done
end 2>/dev/null
rm -rf "$folder"
