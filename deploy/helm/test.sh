#!/bin/bash
# Checks the Helm chart: helm's own lint, and what it makes of each of ci/*.yaml against the
# schemas of Kubernetes. Says so where the tools cannot be had.
set -eu
cd "$(dirname "$0")/mo-router"
# What is not set in a helm that was built from source.
kubernetes=1.34.0

# Two plugins that are compiled at a time leave room for the router.
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
