#!/bin/bash
# Runs a private RabbitMQ in the foreground: rabbitmq.sh FOLDER PORT
#
# It keeps all that it writes in FOLDER, listens on 127.0.0.1 alone, at PORT for
# AMQP and at PORT + 20000 for its own tools, and ends when this process gets
# TERM. The daemon epmd that it may start is shared by all Erlang programs of
# the machine and stays.
set -eu
folder=$1
port=$2

server=$(find /usr/lib/rabbitmq/lib -path '*/sbin/rabbitmq-server' -print -quit)
mkdir -p "$folder"
echo "listeners.tcp.default = 127.0.0.1:$port" >"$folder/rabbitmq.conf"
echo "[]." >"$folder/enabled_plugins"

export HOME="$folder"
export RABBITMQ_NODENAME="mo-router-$port@localhost"
export RABBITMQ_DIST_PORT="$((port + 20000))"
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
export RABBITMQ_MNESIA_BASE="$folder/data"
export RABBITMQ_LOG_BASE="$folder/log"
export RABBITMQ_PID_FILE="$folder/pid"
export RABBITMQ_ENABLED_PLUGINS_FILE="$folder/enabled_plugins"
export RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf"
exec "$server"
