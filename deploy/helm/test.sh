#!/bin/bash
# Checks the Helm chart: helm's own lint, and what it makes of each of ci/*.yaml against the
# schemas of Kubernetes. Says so where the tools cannot be had.
set -eu
cd "$(dirname "$0")/mo-router"
# What is not set in a helm that was built from source.
kubernetes=1.34.0

# Two plugins that are compiled at a time leave room for the router.
# shellcheck disable=SC2016 # the backquotes are Markdown's
each=$(sed -n 's/^| `compile_memory` .* | `\([0-9]*\) GiB` |.*/\1/p' ../../../docs/settings.md)
limit=$(sed -n 's/^  limits: {memory: \([0-9]*\)Gi}$/\1/p' values.yaml)
if [ "$limit" -le $((2 * each)) ]; then
    echo "The Helm chart's limit of ${limit} GiB is used up by compiling two plugins in $each GiB" >&2
    exit 1
fi

status=0
tools=$(../../dev/tools-helm.sh) || status=$?
if [ $status -eq 77 ]; then
    echo 'SKIPPED the Helm chart: helm and kubeconform cannot be had' >&2
    exit
fi
[ $status -eq 0 ] || exit $status

# helm mentions each symbolic link that it follows.
quietly() {
    "$@" 2> >(grep -v 'found symbolic link' >&2)
}

for values in ci/*.yaml; do
    echo "Helm chart with $values:"
    quietly "$tools/helm" lint . --strict --quiet --kube-version $kubernetes --values "$values"
    quietly "$tools/helm" template release . --kube-version $kubernetes --values "$values" |
        grep -v unhealthyPodEvictionPolicy | # of Kubernetes 1.27, which the schemas are too old for
        "$tools/kubeconform" -strict -summary -skip ServiceMonitor,PrometheusRule \
            -schema-location "$tools/schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json"
done

# refused WORDS ARGUMENT...: the chart refuses values that cannot work, and says why.
refused() {
    local words=$1 error
    shift
    if error=$("$tools/helm" template release . --kube-version $kubernetes "$@" 2>&1 >/dev/null); then
        echo "The Helm chart takes $*" >&2
        return 1
    fi
    grep -q "$words" <<<"$error" || { echo "$error" >&2; return 1; }
}
refused 'needs store.postgres' --set replicas=2,plugins.configMap=plugins
refused 'set exactly one of' --set plugins.configMap=plugins,plugins.image=image
refused 'set exactly one of'
refused 'set stopTimeoutSeconds' --set plugins.configMap=plugins,settings='daemon.stop_timeout = "1min"'

# made WORDS ARGUMENT...: the chart makes this of the values.
made() {
    local words=$1 all
    shift
    all=$(quietly "$tools/helm" template release . --kube-version $kubernetes --set plugins.configMap=plugins "$@")
    grep -q -- "$words" <<<"$all" || { echo "The Helm chart has no $words with $*" >&2; return 1; }
}
made 'terminationGracePeriodSeconds: 65$' --set stopTimeoutSeconds=60
made 'MO_ROUTER_DAEMON_STOP_TIMEOUT, value: "60s"' --set stopTimeoutSeconds=60
made 'unhealthyPodEvictionPolicy: AlwaysAllow' --set replicas=2,store.postgres.enabled=true

# Without a cluster helm renders no notes: here they are a template like others.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -rL . "$scratch/chart"
{ echo 'notes: |'; sed 's/^/  /' templates/NOTES.txt; } >"$scratch/chart/templates/notes.yaml"

# noted ARGUMENT...: whoever installs it with these values is warned of the NetworkPolicy.
noted() {
    "$tools/helm" template release "$scratch/chart" --kube-version $kubernetes --show-only templates/notes.yaml \
        --set plugins.configMap=plugins,serviceMonitor.enabled=true "$@" | grep -q 'WARNING: the NetworkPolicy'
}
noted || { echo 'The Helm chart does not say that Prometheus may be shut out' >&2; exit 1; }
! noted --set networkPolicy.enabled=false || { echo 'The Helm chart warns of no NetworkPolicy' >&2; exit 1; }
