#!/bin/bash
# Makes the container image and runs it as it is meant to be run: not as root, on a read-only
# root, with a volume for plugins and one for its state. Needs root for that. Skips loudly
# where buildah cannot be had.
set -eu
cd "$(dirname "$0")/../.."

skip() {
    echo "SKIPPED the container image: $*" >&2
    exit
}

[ "$(id -u)" -eq 0 ] || skip 'its root can only be mounted by root'
status=0
image=$(deploy/container/build.sh localhost/mo-router-test) || status=$?
[ $status -ne 77 ] || skip 'buildah cannot be had'
[ $status -eq 0 ] || exit $status

scratch=$(mktemp -d)
container=$(buildah from "$image")
trap 'buildah umount "$container" >/dev/null; buildah rm "$container" >/dev/null; rm -rf "$scratch"' EXIT
root=$(buildah mount "$container")

# What a container runtime does, in a few lines; buildah would need one to run anything.
# in_image COMMAND...
in_image() {
    # shellcheck disable=SC2016
    timeout 120 unshare --mount --pid --fork --kill-child bash -eu -c '
        root=$1 plugins=$2; shift 2
        mount --bind "$root" "$root"
        mount -o remount,bind,ro "$root"
        mount --bind -o ro "$plugins" "$root/plugins"
        for volume in /var/lib/mo-router /var/cache/mo-router; do
            mount -t tmpfs -o uid=65532,gid=65532,mode=750 tmpfs "$root$volume"
        done
        exec env -i PATH=/usr/bin MO_ROUTER_PLUGINS_DIR=/plugins MO_ROUTER_PLUGINS_CACHE_DIR=/var/cache/mo-router \
            MO_ROUTER_DELAY_STORE=sqlite:/var/lib/mo-router/mo-router.db \
            "$(command -v setpriv)" --no-new-privs \
            "$(command -v chroot)" --userspec=65532:65532 --groups= "$root" "$@"
    ' in_image "$root" "$scratch/plugins" "$@"
}

fail() {
    echo "The container image: $*" >&2
    exit 1
}

[ "$(buildah inspect --format '{{.OCIv1.Config.User}}' "$image")" = 65532:65532 ] || fail 'it runs as root'

# The examples, if `make plugins` has built them.
mkdir "$scratch/plugins"
cp plugins/*.wasm "$scratch/plugins" 2>/dev/null || true
chmod -R a+rX "$scratch"

echo '== the program runs, and finds what it needs'
in_image /usr/bin/mo-router --version
in_image /usr/bin/mo-router check

echo '== it routes, and writes to its volumes alone'
# JSON Lines: no broker is needed. The input ends, and so does the router.
event='{"routing_key": "employee.it.create", "body": {"uuid": "1469208d-6867-4c28-9c26-ea10cdc85a5b"}}'
in_image /usr/bin/mo-router run <<<"$event" >"$scratch/published" 2>"$scratch/log" || { cat "$scratch/log" >&2; fail 'the router fails'; }
if [ -e "$scratch/plugins/employee-filter.wasm" ]; then
    grep -q '"routing_key":"employee.it.create"' "$scratch/published" || { cat "$scratch/log" >&2; fail 'an event is not routed'; }
fi
size=$(du -sm "$root" | cut -f 1)
echo "The container image: runs as nobody on a read-only root, $size MB"
