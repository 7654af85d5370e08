#!/bin/bash
# Shows the router at work: make run
#
# Uses the broker at AMQP_URL or AMQP_HOST:AMQP_PORT and, if none answers there,
# a private one. Publishes the sample events, shows what is routed where, and
# goes on until it is interrupted; with ONCE set it ends after the samples and
# leaves nothing behind.
set -eu
cd "$(dirname "$0")/../.."
dev=deploy/dev
router=("${CARGO_TARGET_DIR:-target}/release/mo-router" --config "$dev/mo-router.toml")

if [ -n "${ONCE:-}" ]; then
    state=$(mktemp -d)
else
    state=${XDG_STATE_HOME:-$HOME/.local/state}/mo-router
    mkdir -p "$state"
fi

# The processes that this script has started, in this order.
started=()

# Each in a session of its own: Ctrl-C reaches this script alone, which then
# stops them one by one.
start() {
    setsid "$@" &
    started+=($!)
}

stop() {
    trap - EXIT INT TERM
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        kill -TERM "${started[i]}" 2>/dev/null || continue
        wait "${started[i]}" || true
    done
    if [ -n "${ONCE:-}" ]; then rm -rf "$state"; fi
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

# Waits until the command succeeds, as long as the newest process lives.
until_works() {
    until "$@"; do
        kill -0 "${started[-1]}" || exit 1
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
    until_works answers localhost "$AMQP_PORT"
}

# Whether every plugin of the folder runs and has taken all events from its queue.
idle() {
    local status plugins
    status=$("${router[@]}" status --json 2>/dev/null) || return
    plugins=$(find plugins -name '[^.]*.wasm' | wc -l)
    [ "$(grep -o '"state":"running"' <<<"$status" | wc -l)" -eq "$plugins" ] \
        && [ "$(grep -o '"backlog":0' <<<"$status" | wc -l)" -eq "$plugins" ]
}

if [ -z "${AMQP_URL:-}" ]; then
    export AMQP_HOST=${AMQP_HOST:-localhost} AMQP_PORT=${AMQP_PORT:-5672}
    answers "$AMQP_HOST" "$AMQP_PORT" || start_broker
fi
MO_ROUTER_HTTP_LISTEN=127.0.0.1:$(free_port 8080)
export ENABLE_AMQP=true MO_ROUTER_DELAY_STORE="sqlite:$state/delayed.db" MO_ROUTER_HTTP_LISTEN

say "Starting the router, with the plugins of plugins/ and the settings of $dev/mo-router.toml"
start "${router[@]}" run
routing=${started[-1]}
until_works idle

for exchange in os2mo_delayed os2mo_public os2mo_partners; do
    start "${router[@]}" tail --exchange $exchange > >(sed -u "s/^/$exchange  /") 2>"$state/$exchange.err"
    until_works grep -q listening "$state/$exchange.err"
done

say "Publishing examples/events.jsonl to exchange os2mo"
"${router[@]}" publish --file examples/events.jsonl
until_works idle
# What was published last is still on its way through the tails.
sleep 1

say "What the router says of itself"
"${router[@]}" status
say "What was no event of MO"
"${router[@]}" dead list

if [ -z "${ONCE:-}" ]; then
    say "The router goes on; Ctrl-C ends it. Send it something:"
    echo "   ${AMQP_PORT:+AMQP_HOST=$AMQP_HOST AMQP_PORT=$AMQP_PORT }${router[*]} publish employee.it.create --uuid $(cat /proc/sys/kernel/random/uuid)"
    wait "$routing"
fi
