#!/bin/bash
# Builds the Rust plugin of the current folder: rust-plugin.sh NAME OUT, where NAME is
# the crate's, or its library's. OUT is left alone if it would be the same; beside it is the compiler's version.
#
# What comes out is a core module that carries its component type; the router
# makes a component of it.
set -eu
name=$1 out=$2
packages=$(dirname "$0")/packages.sh
target=wasm32-unknown-unknown

# look: where the compiler has its things. rustup takes a moment to say: it is asked once.
look() {
    rustc=${RUSTC:-rustc}
    { read -r libdir && read -r sysroot; } < <("$rustc" --print target-libdir --print sysroot --target "$target")
}

has_target() {
    look && [ -d "$libdir" ]
}

add_target() {
    command -v rustup && rustup target add "$target"
}

# wait_for_others: until no other build has rustup add the target. rustup fails where it is asked twice
# at once, and puts a target there file by file. Its folder is the lock: it may be for several users, who
# could not all write one file in it.
wait_for_others() {
    local rustup=${RUSTUP_HOME:-$HOME/.rustup}
    if command -v flock >/dev/null && [ -r "$rustup" ]; then
        exec 9<"$rustup"
        flock -w 600 9 2>/dev/null || true
    fi
}

built=${CARGO_TARGET_DIR:-target}/$target/release/${name//-/_}.wasm
build=(cargo build --release --target "$target")
# The first time it compiles for a while, and says what.
[ ! -e "$built" ] && [ ! -e "$out" ] || build+=(--quiet)
wait_for_others
rustup_helps=
if has_target || { add_target && look; } &>/dev/null; then rustup_helps=1; fi
exec 9>&-
if [ -z "$rustup_helps" ]; then
    # Debian's newest compiler comes with the source of its standard library,
    # which is then built too: an unstable feature of cargo.
    "$packages" rustc-web rust-web-src lld
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld
    build+=("-Zbuild-std=std,panic_abort")
    look
fi
# Whoever builds it, wherever their cargo and compiler are, gets the same file: panics in packages name
# their source.
remap=("--remap-path-prefix=$sysroot=/rust" "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo")
if [ -n "${RUSTFLAGS:-}" ]; then
    export RUSTFLAGS="$RUSTFLAGS ${remap[*]}"
else
    build+=(--config "target.$target.rustflags=['${remap[0]}', '${remap[1]}']")
fi
# What an earlier build has left is no answer: cargo puts the file there again, if it still has this name.
rm -f "$built"
"${build[@]}"
if [ ! -e "$built" ]; then
    echo "cargo has not written $built: the [package] in Cargo.toml, or the [lib] if that has a name," \
        "must be called $name as the plugin is (NAME in the Makefile), and [lib] needs crate-type = [\"cdylib\"]" >&2
    exit 1
fi

mkdir -p "$(dirname "$out")"
"$rustc" --version | cut -d' ' -f2 >"$(dirname "$out")/rustc"
cmp -s "$built" "$out" || cp "$built" "$out"
