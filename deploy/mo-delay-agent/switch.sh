#!/bin/bash
# Puts mo-router in the place of mo-delay-agent, or the agent back, while events come in:
#
#   switch.sh there     the router takes over, with what the agent has in its table
#   switch.sh back      the agent takes over, with what the router has in its store
#
# docs/replacing-mo-delay-agent.md has the whole story. What it needs to know comes from the
# environment; mo-router reads its settings as always (MO_ROUTER_CONFIG, mo-router.toml).
#
#   AGENT_DATABASE   the agent's database: postgres://user:password@host:port/database
#   START_AGENT      starts it:  "systemctl start mo-delay-agent"
#   STOP_AGENT       stops it, and returns when it has stopped:  "systemctl stop mo-delay-agent"
#   AGENT_LISTENS    succeeds once the agent has bound its queue; only `back` asks for it.
#                    The default asks you
#   START_ROUTER     starts the router if it does not run yet:  "systemctl start mo-router"
#   PLUGIN_FILE      the plugin's file in the router's folder: plugins/mo-delay.wasm
#
# `back` has the router remove the plugin, which takes [http] token_file.
#
# Every step is checked, and the first that fails ends it. Run again, it goes on where it was:
# nothing is imported or moved twice.
set -eu -o pipefail

: "${AGENT_DATABASE:?is the agent\'s database, postgres://user:password@host:port/database}"
: "${START_AGENT:=systemctl start mo-delay-agent}"
: "${STOP_AGENT:=systemctl stop mo-delay-agent}"
: "${START_ROUTER:=systemctl start mo-router}"
: "${PLUGIN_FILE:=plugins/mo-delay.wasm}"
: "${PATIENCE:=600}" # seconds that anything may take
# What is due sooner than this stays with the router, which sends it in time.
: "${MARGIN:=10min}"

plugin=$(basename "$PLUGIN_FILE" .wasm)

step() {
    printf '\n== %s\n' "$*"
}

fail() {
    printf 'switch.sh: %s\n' "$*" >&2
    exit 1
}

# What the command said that was waited for last.
last_words=

# until_so WHAT COMMAND...: waits until the command succeeds.
until_so() {
    local what=$1 end=$((SECONDS + PATIENCE))
    shift
    last_words=
    until "$@"; do
        [ $SECONDS -lt $end ] || fail "waited $PATIENCE s in vain for $what${last_words:+: $last_words}"
        sleep 0.5
    done
}

# unless TEXT COMMAND...: the command, which also succeeds if it fails with this text: it was done
# before.
unless() {
    local text=$1
    shift
    if last_words=$("$@" 2>&1); then echo "$last_words"; else grep -q "$text" <<<"$last_words"; fi
}

router_is_ready() {
    mo-router status >/dev/null 2>&1
}

# A line of `plugin list` begins with the plugin's name, has its state, and at its end what waits in
# the queue (COLUMNS in src/cli/status.rs). There need be neither jq nor Python here to read JSON.
plugin_runs() {
    mo-router plugin list | awk -v name="$plugin" '$1 == name && / running( |$)/ { found = 1 } END { exit !found }'
}

queue_is_empty() {
    mo-router plugin list | awk -v name="$plugin" '$1 == name && $NF == 0 { found = 1 } END { exit !found }'
}

# Whether the router would remove the plugin: it refuses while the file is there, and says that only
# to those who may.
may_remove() {
    last_words=$(mo-router plugin remove "$plugin" 2>&1) || grep -q "its file is still there" <<<"$last_words"
}

# The URL has a password, and everybody on this machine sees the arguments of commands: they get
# it as a file.
agent_url() {
    printf '%s\n' "$AGENT_DATABASE"
}

# number NAME JSON: a number of an answer.
number() {
    sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" <<<"$2"
}

agent_listens() {
    if [ -n "${AGENT_LISTENS:-}" ]; then
        until_so "the agent to listen (AGENT_LISTENS)" sh -c "$AGENT_LISTENS"
    else
        [ -t 0 ] || fail "set AGENT_LISTENS to a command that succeeds once the agent listens"
        read -r -p "Enter, when the agent's log says that it listens: "
    fi
}

there() {
    step "Checking settings, plugins and the agent's table"
    mo-router check
    mo-router delayed import --from-file <(agent_url) --dry-run

    step "The router listens, while the agent does too: nothing can be lost from here on"
    router_is_ready || sh -c "$START_ROUTER"
    until_so "the router to be ready" router_is_ready
    until_so "plugin $plugin to run (its file: $PLUGIN_FILE)" plugin_runs

    step "The agent stops; what came since is with both, and is sent twice"
    sh -c "$STOP_AGENT"

    step "Its table is imported, and stays as it is"
    mo-router delayed import --from-file <(agent_url)

    step "Checking that all of it is there"
    local left
    left=$(mo-router --json delayed import --from-file <(agent_url) --dry-run)
    [ "$(number added "$left")" = 0 ] || fail "$(number added "$left") rows are new: does the agent still run?"
    [ "$(number set_aside "$left")" = 0 ] ||
        echo "$(number set_aside "$left") rows cannot be imported, for the reasons above; they stay in the table"
    mo-router delayed count
    step "Done. The agent can be removed; keep its table until you are sure"
}

back() {
    step "Checking the router and the agent's table"
    router_is_ready || fail "the router is not ready: mo-router status says why"
    if [ -e "$PLUGIN_FILE" ]; then
        agent_takes_over
    elif [ ! -e "$PLUGIN_FILE.aside" ]; then
        fail "there is no $PLUGIN_FILE, and none was put aside: is PLUGIN_FILE the plugin's file?"
    fi

    step "The plugin's bindings are removed"
    until_so "the router to remove the plugin" unless "runs or has run" mo-router plugin remove "$plugin"
    step "The plugin's queue, whose events the agent has got too, is deleted"
    until_so "nobody to consume from the queue" unless "there is no queue" mo-router plugin forget "$plugin" --yes

    step "What the router was given meanwhile goes to the agent's table as well"
    mo-router delayed export --agent-file <(agent_url) --plugin "$plugin" --from "+$MARGIN"

    step "Done, but for what is due within $MARGIN: leave the router running until there is none"
    mo-router delayed count --plugin "$plugin"
    echo "What was given up before, if anything: mo-router dead list --plugin $plugin"
}

# The agent listens, and the plugin's file is put aside. Not again once it is: from then on nobody
# but the agent takes events, and it must not be stopped.
agent_takes_over() {
    may_remove || fail "the router would not remove plugin $plugin: $last_words"
    mo-router delayed export --agent-file <(agent_url) --plugin "$plugin" --from "+$MARGIN" --dry-run

    step "The agent's table: without what was imported, and with what the router has for later"
    sh -c "$STOP_AGENT"
    mo-router delayed export --agent-file <(agent_url) --plugin "$plugin" --from "+$MARGIN"

    step "The agent listens, while the router does too: nothing can be lost from here on"
    sh -c "$START_AGENT"
    agent_listens

    step "The router routes what came before the agent listened; what came since is sent twice"
    until_so "the queue of plugin $plugin to be empty" queue_is_empty

    step "The plugin's file is put aside as $PLUGIN_FILE.aside"
    mv "$PLUGIN_FILE" "$PLUGIN_FILE.aside"
}

case ${1:-} in
there) there ;;
back) back ;;
*) fail "usage: switch.sh there|back" ;;
esac
