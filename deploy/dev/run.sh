#!/bin/bash
# Shows the router at work: make run
#
# Uses the broker at AMQP_URL or AMQP_HOST:AMQP_PORT and, if none answers there,
# a private one. Publishes the sample events, shows what is routed where, and
# goes on until it is interrupted; with ONCE set it ends after the samples and
# leaves nothing behind, but for exchanges and dead letters at a broker that was
# there before.
set -eu
cd "$(dirname "$0")/../.."
dev=deploy/dev
programs=$(realpath "${CARGO_TARGET_DIR:-target}/release")
export MO_ROUTER_CONFIG=$PWD/$dev/mo-router.toml MO_ROUTER_PLUGINS_DIR=$PWD/plugins
router=("$programs/mo-router")

if [ -n "${ONCE:-}" ]; then
    state=$(mktemp -d)
    # Queues of its own, which can be deleted whatever else uses the broker.
    export MO_ROUTER_AMQP_QUEUE_PREFIX=mo-router-once-$$
else
    state=${XDG_STATE_HOME:-$HOME/.local/state}/mo-router
    mkdir -p "$state"
fi

# How many seconds anything may take.
patience=180

# The processes that this script has started, in this order.
started=()

# Each in a session of its own: Ctrl-C reaches this script alone, which then
# stops them one by one.
start() {
    setsid "$@" &
    started+=($!)
}

stop() {
    trap - EXIT
    # Interrupted again, it would leave running what it has not stopped yet.
    trap '' INT TERM
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        # The broker goes last.
        if [ "${started[i]}" = "${routing:-}" ]; then
            stop_one "$i"
            forget
        else
            stop_one "$i"
        fi
    done
    if [ -n "${ONCE:-}" ]; then rm -rf "$state"; fi
}

stop_one() {
    kill -TERM "${started[$1]}" 2>/dev/null || return 0
    wait "${started[$1]}" || true
}

# Deletes the queues of a router that has stopped.
forget() {
    local plugin
    [ -n "${ONCE:-}" ] || return 0
    for plugin in plugins/*.wasm; do
        "${router[@]}" plugin forget "$(basename "$plugin" .wasm)" --yes >/dev/null 2>&1 || true
    done
}
trap stop EXIT
trap 'exit 0' INT TERM

say() {
    printf '\n== %s\n' "$*"
}

answers() {
    (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null
}

free_port() {
    local port=$1
    while answers 127.0.0.1 "$port"; do port=$((port + 1)); done
    echo "$port"
}

# The line by which commands in other terminals find this router. A URL may have a password in it: it is
# left to whoever has set it.
surroundings() {
    local name names=(MO_ROUTER_CONFIG MO_ROUTER_PLUGINS_DIR MO_ROUTER_DELAY_STORE MO_ROUTER_HTTP_LISTEN MO_ROUTER_HTTP_TOKEN_FILE)
    [ -n "${AMQP_URL:-}" ] || names+=(AMQP_HOST AMQP_PORT)
    printf 'export'
    for name in "${names[@]}"; do printf ' %s=%q' "$name" "${!name}"; done
    # shellcheck disable=SC2016  # it is that of the other terminal
    printf ' PATH=%q:"$PATH"\n' "$programs"
}

# Waits until the command succeeds: as long as process $1 lives, and not for ever.
until_works() {
    local process=$1 end=$((SECONDS + patience))
    shift
    until "$@"; do
        if ! kill -0 "$process" 2>/dev/null; then
            say "What is waited for has ended" >&2
            exit 1
        fi
        if [ $SECONDS -ge $end ]; then
            say "Waited ${patience} s in vain for: $*" >&2
            if [ -n "${routing:-}" ]; then "${router[@]}" status >&2 || true; fi
            exit 1
        fi
        sleep 0.2
    done
}

start_broker() {
    $dev/packages.sh rabbitmq-server
    # Where the package has started a broker of the system's own, we do not use it.
    AMQP_PORT=$(free_port "$AMQP_PORT")
    AMQP_HOST=localhost
    say "Starting a private RabbitMQ at $AMQP_HOST:$AMQP_PORT, in $state/rabbitmq"
    start $dev/rabbitmq.sh "$state/rabbitmq" "$AMQP_PORT" >"$state/rabbitmq.out"
    until_works "${started[-1]}" answers localhost "$AMQP_PORT"
}

# Whether every plugin of the folder runs and has taken all events from its queue.
# With one that is refused, an old file perhaps, that will never be.
idle() {
    local status plugins
    status=$("${router[@]}" status --json 2>/dev/null) || return
    if grep -q '"stale":"' <<<"$status"; then
        say "A file in plugins/ cannot be loaded: fix it or remove it" >&2
        "${router[@]}" status >&2
        exit 1
    fi
    plugins=$(find plugins -name '[^.]*.wasm' | wc -l)
    [ "$(grep -o '"state":"running"' <<<"$status" | wc -l)" -eq "$plugins" ] \
        && [ "$(grep -o '"backlog":0' <<<"$status" | wc -l)" -eq "$plugins" ]
}

if [ -z "${AMQP_URL:-}" ]; then
    export AMQP_HOST=${AMQP_HOST:-localhost} AMQP_PORT=${AMQP_PORT:-5672}
    answers "$AMQP_HOST" "$AMQP_PORT" || start_broker
fi
MO_ROUTER_HTTP_LISTEN=127.0.0.1:$(free_port 8080)
MO_ROUTER_HTTP_TOKEN_FILE=$state/token
od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$MO_ROUTER_HTTP_TOKEN_FILE"
export AMQP_ENABLE=true MO_ROUTER_DELAY_STORE="sqlite:$state/delayed.db"
export MO_ROUTER_HTTP_LISTEN MO_ROUTER_HTTP_TOKEN_FILE

say "Starting the router, with the plugins of plugins/ and the settings of $dev/mo-router.toml"
start "${router[@]}" run
routing=${started[-1]}
until_works "$routing" idle
say "Its page is http://$MO_ROUTER_HTTP_LISTEN/, and the token for changes $(<"$MO_ROUTER_HTTP_TOKEN_FILE")"

for exchange in os2mo_delayed os2mo_public os2mo_partners; do
    start "${router[@]}" tail --exchange $exchange > >(sed -u "s/^/$exchange  /") 2>"$state/$exchange.err"
    until_works "${started[-1]}" grep -q listening "$state/$exchange.err"
done

say "Publishing examples/mo-events.jsonl, which a real MO sent, to exchange os2mo"
"${router[@]}" publish --file examples/mo-events.jsonl
say "Publishing examples/events.jsonl, which has what else may come"
"${router[@]}" publish --file examples/events.jsonl
until_works "$routing" idle
# What was published last is still on its way through the tails.
sleep 1

say "What the router says of itself"
"${router[@]}" status
say "What was no event of MO: dead letters, which are meant"
"${router[@]}" dead list

if [ -z "${ONCE:-}" ]; then
    say "The router goes on; Ctrl-C ends it. Other terminals find it after this line${AMQP_URL:+, and with AMQP_URL as here}:"
    surroundings
    say "Send it something there, or ask it: mo-router status, plugin list, dead list, delayed list"
    echo "mo-router publish employee.it.create --uuid $(cat /proc/sys/kernel/random/uuid)"
    wait "$routing"
fi
