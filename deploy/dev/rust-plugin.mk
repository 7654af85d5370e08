# The Makefile of an example plugin in Rust.

include $(dir $(lastword $(MAKEFILE_LIST)))/plugin.mk

LANGUAGE := Rust
LANGUAGE_TOOLS = "rustc $$(rustc --version | cut -d' ' -f2)"

# Those of a repository share one folder, so that what they have in common is built once. A new
# project has its own: cargo takes two of one name in a folder for one another.
export CARGO_TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(ROOT)/target)/plugins

# Cargo knows what has changed.
$(PART): always
	@$(TOOLS)rust-plugin.sh $(NAME) $@

# Not quiet the first time, when it compiles for a while.
unit-test:
	cargo test $(if $(wildcard $(CARGO_TARGET_DIR)/debug/deps/$(subst -,_,$(NAME))-*),--quiet)

.PHONY: lint
lint:
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
