#!/bin/bash
# Makes the container image from target/release/mo-router, which must be built: the program, the
# libraries that it is linked with, certificate authorities, and nothing else; no shell either.
# build.sh [IMAGE] gives it that name, localhost/mo-router unless told otherwise. Needs buildah;
# skips with status 77 where it cannot be had.
set -eu
cd "$(dirname "$0")/../.."
image=${1:-localhost/mo-router}
program=${CARGO_TARGET_DIR:-target}/release/mo-router
# Nobody's, as in other images of this kind.
user=65532

if [ ! -x "$program" ]; then
    echo "build.sh: there is no $program: make build" >&2
    exit 1
fi
if ! command -v buildah >/dev/null && ! deploy/dev/packages.sh buildah; then
    echo 'The container image is made by buildah, which cannot be installed here' >&2
    exit 77
fi

root=$(mktemp -d)
container=
cleanup() {
    rm -rf "$root"
    [ -z "$container" ] || buildah rm "$container" >/dev/null
}
trap cleanup EXIT
chmod 755 "$root"

install -D --strip "$program" "$root/usr/bin/mo-router"
# Each library under the name that it is looked for, links followed.
ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    install -D "$library" "$root$library"
done
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
echo "mo-router:x:$user:$user::/var/lib/mo-router:/usr/sbin/nologin" >"$root/etc/passwd"
echo "mo-router:x:$user:" >"$root/etc/group"
mkdir -p "$root/plugins"
install -d -m 1777 "$root/tmp"
install -d -o $user -g $user -m 750 "$root/var/lib/mo-router" "$root/var/cache/mo-router"
install -D -m 644 LICENSE "$root/usr/share/doc/mo-router/LICENSE"

container=$(buildah from scratch)
buildah copy --quiet "$container" "$root" / >/dev/null
version=$("$program" --version)
buildah config \
    --user $user:$user \
    --workingdir /var/lib/mo-router \
    --entrypoint '["/usr/bin/mo-router"]' --cmd run \
    --env PATH=/usr/bin \
    --env MO_ROUTER_LOG_FORMAT=json \
    --env MO_ROUTER_PLUGINS_DIR=/plugins \
    --env MO_ROUTER_PLUGINS_CACHE_DIR=/var/cache/mo-router \
    --env MO_ROUTER_DELAY_STORE=sqlite:/var/lib/mo-router/mo-router.db \
    --env MO_ROUTER_HTTP_LISTEN=0.0.0.0:9095 \
    --port 9095 \
    --stop-signal TERM \
    --label org.opencontainers.image.title=mo-router \
    --label "org.opencontainers.image.version=${version#* }" \
    --label "org.opencontainers.image.revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    --label org.opencontainers.image.licenses=MPL-2.0 \
    --label org.opencontainers.image.source=https://github.com/OS2mo/mo-router \
    "$container"
buildah commit --quiet "$container" "$image" >/dev/null
echo "$image"
