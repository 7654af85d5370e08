#!/bin/bash
# The Helm chart: helm, and kubeconform with the schemas of Kubernetes, built from their Go
# modules where they are missing.
# Go's tools take the lock themselves: before it is ours.
go=$("$(dirname "$0")/tools-go.sh" || true)
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

# The schemas are in the module of kubectl that this version of helm is made with.
helm=v3.22.0
kubeconform=v0.8.0
kubectl=v0.37.0
root=$tools/helm-$helm-$kubeconform

if ! whole "$root" helm; then
    [ -n "$go" ] || skip 'the Helm chart is checked with helm and kubeconform, which need Go'
    PATH=$go:$PATH
    mkdir -p "$root"
    build() {
        GOBIN=$root go install "helm.sh/helm/v3/cmd/helm@$helm" &&
            GOBIN=$root go install "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform" &&
            go mod download -json "k8s.io/kubectl@$kubectl" >"$root/kubectl.json"
    }
    build >&2 || skip 'the Helm chart is checked with helm and kubeconform, which cannot be built here'
    module=$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' "$root/kubectl.json")
    "$here/../helm/schemas.py" "$module/testdata/openapi/swagger.json" "$root/schemas"
    finished "$root"
fi
echo "$root"
