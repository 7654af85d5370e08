#!/bin/bash
# Runs a private RabbitMQ in the foreground: rabbitmq.sh FOLDER PORT
#
# It writes only to FOLDER and listens only on 127.0.0.1: on PORT for AMQP, on
# PORT + 4000 for epmd, by which Erlang programs find one another, and on
# PORT + 8000 for RabbitMQ's own tools. All of it ends when this process gets TERM.
#
# It says how rabbitmqctl reaches it. For TLS, have a copy of this script write listeners.ssl.default
# and ssl_options to rabbitmq.conf, too: that file is written anew at each start.
#
# A node of a cluster shares DEV_RABBITMQ_EPMD_PORT with the others, where somebody else
# runs epmd. DEV_RABBITMQ_PLUGINS names plugins of RabbitMQ to enable, with commas between them.
# With DEV_RABBITMQ_ROOT, the programs are those of the system in that folder, as
# tests/support/rabbitmq4.sh makes one.
set -eu
folder=$1
port=$2

mkdir -p "$folder"
root=${DEV_RABBITMQ_ROOT:-}
if [ -n "$root" ] && [ -z "${inside:-}" ]; then
    # Mounts of its own end with it.
    export inside=1
    exec unshare --mount "$0" "$@"
fi
if [ -n "$root" ]; then
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -t proc proc "$root/proc"
    in_root=(chroot "$root")
else
    in_root=()
fi
server=$(find "$root/usr/lib/rabbitmq/lib" -path '*/sbin/rabbitmq-server' -print -quit)
server=${server#"$root"}
echo "listeners.tcp.default = 127.0.0.1:$port" >"$folder/rabbitmq.conf"
echo "[${DEV_RABBITMQ_PLUGINS:-}]." >"$folder/enabled_plugins"

export ERL_EPMD_PORT="${DEV_RABBITMQ_EPMD_PORT:-$((port + 4000))}"
export ERL_EPMD_ADDRESS=127.0.0.1
export HOME="$folder"
export RABBITMQ_NODENAME="mo-router-$port@localhost"
export RABBITMQ_DIST_PORT="$((port + 8000))"
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
export RABBITMQ_MNESIA_BASE="$folder/data"
export RABBITMQ_LOG_BASE="$folder/log"
export RABBITMQ_PID_FILE="$folder/pid"
export RABBITMQ_ENABLED_PLUGINS_FILE="$folder/enabled_plugins"
export RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf"

# An epmd of its own: the one that RabbitMQ would start outlives it.
epmd=
if [ -z "${DEV_RABBITMQ_EPMD_PORT:-}" ]; then
    "${in_root[@]}" epmd &
    epmd=$!
fi
broker=
# `wait` returns early when this process gets TERM, and must then wait again.
trap 'if [ -n "$broker" ]; then kill -TERM "$broker"; fi' TERM
trap '[ -z "$epmd" ] || kill "$epmd" 2>/dev/null' EXIT
until "${in_root[@]}" epmd -names >/dev/null 2>&1; do
    [ -z "$epmd" ] || kill -0 "$epmd" || exit
    sleep 0.05
done
[ -n "$root" ] || printf 'rabbitmqctl for this broker: HOME=%q ERL_EPMD_PORT=%s %q -n %s list_queues\n' \
    "$folder" "$ERL_EPMD_PORT" "$(dirname "$server")/rabbitmqctl" "$RABBITMQ_NODENAME"
"${in_root[@]}" "$server" &
broker=$!
while kill -0 "$broker" 2>/dev/null; do
    status=0
    wait "$broker" || status=$?
done
exit "$status"
