#!/bin/bash
# Checks the unit: that systemd understands it, and that it is as closed as we say.
set -eu
unit=$(cd "$(dirname "$0")" && pwd)/mo-router.service
# What `systemd-analyze security` calls exposure, times ten.
threshold=25

if ! command -v systemd-analyze >/dev/null; then
    echo 'SKIPPED the systemd unit: systemd-analyze is not installed' >&2
    exit
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# The program need not be installed. Everything else stays.
sed 's|^ExecStart=/usr/bin/mo-router|ExecStart=/bin/true|' "$unit" >"$scratch/mo-router.service"

# systemd before 253 knows notify, the line before.
complaints=$(systemd-analyze verify --man=no "$scratch/mo-router.service" 2>&1 |
    grep "$scratch" | grep -v 'Failed to parse service type.*notify-reload' || true)
if [ -n "$complaints" ]; then
    echo "$complaints" >&2
    exit 1
fi

systemd-analyze security --offline=true --no-pager --threshold=$threshold "$scratch/mo-router.service" &>"$scratch/report" ||
    { cat "$scratch/report" >&2; exit 1; }
tail -1 "$scratch/report"
