# The Makefile of an example plugin in Rust.

include $(dir $(lastword $(MAKEFILE_LIST)))/plugin.mk

# All of them share one folder, so that what they have in common is built once.
export CARGO_TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(ROOT)/target)/plugins

$(PLUGIN): $(wildcard src/*.rs) Cargo.toml $(wildcard Cargo.lock) $(WIT)
	$(TOOLS)rust-plugin.sh $@

test:
	cargo test --quiet

.PHONY: lint
lint:
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
