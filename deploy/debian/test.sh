#!/bin/bash
# Installs, upgrades, removes and purges the package in a Debian of its own, which debootstrap
# makes, and looks at what is there after each: test.sh. Needs root. Skips loudly where the
# tools cannot be had.
set -eu
cd "$(dirname "$0")/../.."
release=${DEBIAN_RELEASE:-bookworm}

skip() {
    echo "SKIPPED the Debian package: $*" >&2
    exit 0
}

[ "$(id -u)" -eq 0 ] || skip 'a Debian of its own can only be made by root'
deploy/dev/packages.sh debootstrap || skip 'debootstrap cannot be installed'

status=0
new=$(deploy/debian/build.sh --fast) || status=$?
[ $status -ne 77 ] || skip 'cargo-deb cannot be had'
[ $status -eq 0 ] || exit $status
# An older one to come from: any version that sorts before.
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
old=$(deploy/debian/build.sh --fast --version 0.0.1 --output "$packages")

# Made once; what the package needs is in it.
base=${XDG_CACHE_HOME:-$HOME/.cache}/mo-router/debian-$release
if [ ! -e "$base.complete" ]; then
    rm -rf "$base"
    debootstrap --variant=minbase --include=adduser,ca-certificates "$release" "$base" >"$base.log" ||
        { tail -5 "$base.log" >&2; skip "debootstrap cannot make Debian $release here"; }
    touch "$base.complete"
fi

root=$(mktemp -d)
trap 'rm -rf "$packages" "$root"' EXIT
cp -a "$base/." "$root"

inside() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}

fail() {
    echo "The Debian package: $*" >&2
    exit 1
}

# has MODE OWNER FILE
has() {
    local is
    is=$(inside stat -c '%a %U' "$3") || fail "there is no $3"
    [ "$is" = "$1 $2" ] || fail "$3 has mode and owner $is, not $1 $2"
}

gone() {
    [ ! -e "$root$1" ] || fail "$1 is still there"
}

# The old one's settings are others, as they would be after a while: dpkg only asks about a file that
# both the administrator and the package have changed.
dpkg-deb --raw-extract "$old" "$root/old"
sed -i '1s/^/# Settings of the version before.\n/' "$root/old/etc/mo-router/mo-router.toml"
dpkg-deb --build --root-owner-group "$root/old" "$root/old.deb" >/dev/null
rm -r "$root/old"
cp "$new" "$root/new.deb"

echo '== installed'
inside dpkg --install /old.deb
inside mo-router --version
has 755 root /usr/bin/mo-router
has 640 root /etc/mo-router/mo-router.toml
[ "$(inside stat -c %G /etc/mo-router/mo-router.toml)" = mo-router ] || fail 'the router cannot read its settings'
has 700 root /etc/mo-router/credentials
has 750 mo-router /var/lib/mo-router
has 750 mo-router /var/lib/mo-router/plugins
has 644 root /usr/lib/systemd/system/mo-router.service
has 644 root /usr/share/man/man1/mo-router.1.gz
has 644 root /usr/share/bash-completion/completions/mo-router
has 644 root /usr/share/zsh/vendor-completions/_mo-router
has 644 root /usr/share/fish/vendor_completions.d/mo-router.fish
[ ! -e "$root/etc/systemd/system/multi-user.target.wants/mo-router.service" ] || fail 'it is enabled before anybody has looked at the settings'
inside setpriv --reuid mo-router --regid mo-router --clear-groups \
    mo-router --config /etc/mo-router/mo-router.toml check
# What pages link is there, pictures and recordings, too.
(
    cd "$root/usr/share/doc/mo-router"
    [ -e examples/consumer.py ] || fail 'there is no examples/consumer.py'
    links=0
    for page in *.md docs/*.md docs/plugins/*.md; do
        while read -r link; do
            links=$((links + 1))
            [ -e "$(dirname "$page")/$link" ] || fail "$page links $link, which is not installed"
        done < <(grep -o ']([A-Za-z0-9_./-]*[)#]' "$page" | sed 's/^](//; s/[)#]$//')
    done
    [ "$links" -gt 100 ] || fail "only $links links are found in the documentation"
)

echo '== upgraded: what was changed and stored is kept'
echo '# changed by the administrator' >>"$root/etc/mo-router/mo-router.toml"
echo 'delayed messages' >"$root/var/lib/mo-router/mo-router.db"
echo 'a plugin' >"$root/var/lib/mo-router/plugins/mine.wasm"
echo secret >"$root/etc/mo-router/credentials/amqp"
kept() {
    grep -q 'changed by the administrator' "$root/etc/mo-router/mo-router.toml" || fail 'the settings are lost'
    grep -q 'delayed messages' "$root/var/lib/mo-router/mo-router.db" || fail 'the delay store is lost'
    grep -q 'a plugin' "$root/var/lib/mo-router/plugins/mine.wasm" || fail 'a plugin is lost'
    grep -q secret "$root/etc/mo-router/credentials/amqp" || fail 'a password is lost'
}
inside dpkg --install --force-confdef --force-confold /new.deb
[ "$(inside dpkg-query --show mo-router | cut -f 2)" != 0.0.1 ] || fail 'it is not upgraded'
kept
grep -q 'Settings of the version before' "$root/etc/mo-router/mo-router.toml" || fail 'the settings are replaced'
cmp deploy/debian/mo-router.toml "$root/etc/mo-router/mo-router.toml.dpkg-dist" || fail 'the new settings are not beside the old ones'

echo '== removed: settings and store are kept'
inside dpkg --remove mo-router
gone /usr/bin/mo-router
gone /usr/lib/systemd/system/mo-router.service
kept

echo '== purged: delayed messages and plugins are kept'
inside dpkg --purge mo-router
gone /etc/mo-router
grep -q 'delayed messages' "$root/var/lib/mo-router/mo-router.db" || fail 'the delay store is lost'
echo "The Debian package $(basename "$new"): installed, upgraded, removed and purged on $release"
