# The Makefile of an example plugin in Rust.

include $(dir $(lastword $(MAKEFILE_LIST)))/plugin.mk

LANGUAGE := Rust
LANGUAGE_TOOLS = "rustc $$(rustc --version | cut -d' ' -f2)"

# All of them share one folder, so that what they have in common is built once.
export CARGO_TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(ROOT)/target)/plugins

# Cargo knows what has changed.
$(PART): always
	@$(TOOLS)rust-plugin.sh $(NAME) $@

unit-test:
	cargo test --quiet

.PHONY: lint
lint:
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
