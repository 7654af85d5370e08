#!/bin/bash
# Checks the alerts with Prometheus' own tool: that they are well formed, that each fires and
# stays quiet as its test says, that each has a test and a runbook, and that Prometheus can read
# every query of the dashboard. Which metrics the router serves, a test of the suite compares.
set -eu
cd "$(dirname "$0")"
runbooks=../../docs/runbooks.md

if ! command -v promtool >/dev/null && ! ../dev/packages.sh prometheus; then
    echo 'SKIPPED the alerts and the dashboard: promtool cannot be installed' >&2
    exit
fi

promtool check rules alerts.yaml
promtool test rules alerts.test.yaml

status=0
while read -r alert; do
    grep -q "alertname: $alert\b" alerts.test.yaml || { echo "$alert has no test" >&2; status=1; }
    grep -q "^## $alert\$" $runbooks || { echo "$alert has no section in docs/runbooks.md" >&2; status=1; }
    grep -q "runbook_url: .*#${alert,,}\$" alerts.yaml || { echo "$alert does not link its runbook" >&2; status=1; }
done < <(sed -n 's/^ *- alert: //p' alerts.yaml)

# The queries as recording rules, with what Grafana puts in the place of its variables.
rules=$(mktemp --suffix .yaml)
trap 'rm -f "$rules"' EXIT
python3 - dashboard.json >"$rules" <<'PYTHON'
import json
import sys

dashboard = json.load(open(sys.argv[1]))
queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
queries += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
assert queries, "no queries"
rules = [
    {"record": f"dashboard:query_{number}", "expr": query.replace("$__rate_interval", "5m")}
    for number, query in enumerate(queries)
]
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
PYTHON
promtool check rules "$rules" >/dev/null || status=1
exit $status
