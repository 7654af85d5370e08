#!/bin/bash
# Makes the passwords for compose.yaml, in the folder secrets beside it; those that are there stay.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets plugins
# The containers' users, who are others, read the files; nobody else gets into the folder.
chmod 755 plugins

password() {
    head -c 24 /dev/urandom | base64 | tr '+/' '-_'
}

# keep NAME TEXT
keep() {
    printf '%s' "$2" >"secrets/$1"
    chmod 644 "secrets/$1"
}

[ -e secrets/postgres ] || keep postgres "$(password)"
[ -e secrets/http-token ] || keep http-token "$(password)"
[ -e secrets/grafana ] || keep grafana "$(password)"
if [ ! -e secrets/broker-url ]; then
    broker=$(password)
    keep rabbitmq-definitions "{
  \"users\": [{\"name\": \"mo-router\", \"password\": \"$broker\", \"tags\": [\"administrator\"]}],
  \"vhosts\": [{\"name\": \"/\"}],
  \"permissions\": [{\"user\": \"mo-router\", \"vhost\": \"/\", \"configure\": \".*\", \"write\": \".*\", \"read\": \".*\"}]
}
"
    keep broker-url "amqp://mo-router:$broker@rabbitmq:5672/%2f"
fi
