#!/bin/bash
# Checks what Docker Compose is given without Docker: that compose.yaml is as it should be, that each
# file which it mounts is there once secrets.sh has made the passwords, that services and volumes which
# it names exist, and that Prometheus takes its settings at the places where they are mounted.
set -eu
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# As it is after a clone: what somebody has made here meanwhile is left out.
mkdir "$scratch/container"
git ls-files -z container monitoring | xargs -0 cp --parents --target-directory "$scratch"
"$scratch/container/secrets.sh"

python=
for one in python3 /usr/bin/python3; do
    if "$one" -c 'import yaml' 2>/dev/null; then python=$one; break; fi
done
if [ -z "$python" ]; then
    dev/packages.sh python3-yaml || { echo 'SKIPPED compose.yaml: python3-yaml cannot be installed' >&2; exit; }
    python=/usr/bin/python3
fi

# Prints what Prometheus' container has: SOURCE and TARGET of each mounted file.
"$python" - "$scratch/container" >"$scratch/prometheus" <<'PYTHON'
import pathlib
import sys

import yaml

folder = pathlib.Path(sys.argv[1])
compose = yaml.safe_load((folder / "compose.yaml").read_text())
wrong = []
services = compose["services"]
for section in ("secrets", "configs"):
    for name, source in compose[section].items():
        if "file" in source and not (folder / source["file"]).is_file():
            wrong.append(f"{section} {name}: there is no {source['file']}")
        if not any(
            name == (use if isinstance(use, str) else use["source"])
            for service in services.values()
            for use in service.get(section, [])
        ):
            wrong.append(f"{section} {name}: no service uses it")
for name, service in services.items():
    for section in ("secrets", "configs"):
        for use in service.get(section, []):
            source = use if isinstance(use, str) else use["source"]
            if source not in compose[section]:
                wrong.append(f"{name}: there is no {source} in {section}")
    for other in service.get("depends_on", {}):
        if other not in services:
            wrong.append(f"{name}: there is no service {other}")
        elif "healthcheck" not in services[other]:
            wrong.append(f"{name}: {other} cannot be waited for, since nothing says when it is healthy")
    # What is set by a file must be one that the service is given.
    for variable, value in service.get("environment", {}).items():
        secret = str(value).removeprefix("/run/secrets/")
        if secret != str(value) and secret not in service.get("secrets", []):
            wrong.append(f"{name}: {variable} is a secret that it is not given: {secret}")
    for volume in service.get("volumes", []):
        source, target = volume.split(":")[:2]
        if not source.startswith("."):
            if source not in compose["volumes"]:
                wrong.append(f"{name}: there is no volume {source}")
        elif not (folder / source).exists():
            wrong.append(f"{name}: there is no {source} to mount at {target}")
        elif name == "router" and not (folder / source).is_dir():
            wrong.append(f"{name}: {source} is a file, whose changes do not show once an editor replaces it")
        elif name == "prometheus":
            print(folder / source, target)
if wrong:
    sys.exit("compose.yaml: " + "\n".join(wrong))
PYTHON

if ! command -v promtool >/dev/null && ! dev/packages.sh prometheus; then
    echo "SKIPPED Prometheus' settings: promtool cannot be installed" >&2
    exit
fi
while read -r source target; do
    install -D --mode 644 "$source" "$scratch/root$target"
done <"$scratch/prometheus"
promtool check config "$scratch/root/etc/prometheus/prometheus.yml"
