#!/bin/bash
# Runs every test, after installing what they need: make test
set -eu
cd "$(dirname "$0")/../.."
dev=deploy/dev

# The tests start servers of their own from these.
$dev/packages.sh rabbitmq-server postgresql pgbouncer chromium chromium-driver
PATH="$($dev/python.sh):$PATH"
export PATH

ran=() skipped=()
log=$(mktemp)

# Says at the end what was run, also if something failed.
summary() {
    local status=$? line
    printf '\n== make test ran\n'
    for line in "${ran[@]}"; do echo "$line"; done
    # What cargo ran, with the results: Running unittests src/lib.rs (…), test result: ok. …
    sed -E 's/\x1b\[[0-9;]*m//g' "$log" |
        awk '/^ +Running /   { name = $2 == "unittests" ? $3 : $2; if ($2 == "unittests") name = "unit tests of " name }
             /^ +Doc-tests / { name = "examples in the documentation" }
             /^test result: / { sub(/^test result: /, ""); sub(/; finished.*/, ""); print name ": " $0 }'
    for line in "${skipped[@]}"; do echo "SKIPPED $line: its tools cannot be installed, for the reason above"; done
    rm -f "$log"
    [ $status -eq 0 ] || echo "FAILED with status $status"
}
trap summary EXIT

# The tests of a language are left out without its tools, which no test says aloud that passes: each
# language is asked for here, also one without an example. Rust has no tools but cargo.
without_tools=
for makefile in "$dev"/*-plugin.mk; do
    language=$(basename "$makefile" -plugin.mk)
    tools=$(grep -o 'tools-[a-z]*\.sh' "$makefile" | head -1 || true)
    status=0
    [ -z "$tools" ] || "$dev/$tools" >/dev/null || status=$?
    # 77 says that they cannot be installed, and why; anything else is a fault.
    case $status in
    0) ;;
    77)
        without_tools+=" $language "
        skipped+=("the tests of plugins in $language")
        ;;
    *) exit "$status" ;;
    esac
done

for makefile in examples/*/Makefile; do
    example=$(dirname "$makefile")
    language=$(sed -n 's|.*/\(.*\)-plugin.mk|\1|p' "$makefile")
    if [[ $without_tools != *" $language "* ]]; then
        make --no-print-directory -C "$example" all test
        ran+=("$example: built, and its own tests passed")
    else
        skipped+=("$example")
    fi
done

# What operators get beside the program.
deploy/systemd/test.sh
ran+=("systemd unit: understood by systemd, and as closed as it says")
deploy/monitoring/test.sh
ran+=("alerts and dashboard: promtool's checks and tests")
deploy/container/compose-test.sh
ran+=("compose.yaml: what it mounts and names is there, and Prometheus takes its settings")

# Most of the time a test waits for a broker, a database or a process.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(nproc) * 2))}"
colour=never
if [ -t 1 ]; then colour=always; fi
set -o pipefail
CARGO_TERM_COLOR=$colour cargo test --release -- --color "$colour" 2>&1 | tee "$log"
