# The Makefile of an example plugin in Rust.

include $(dir $(lastword $(MAKEFILE_LIST)))plugin.mk

LANGUAGE := Rust
# Which of several compilers built it, rust-plugin.sh says.
LANGUAGE_TOOLS = "rustc $$(cat build/parts/rustc)"
build/origin: $(PART)

# Those of a repository share one folder, so that what they have in common is built once. In a folder
# that is for many, CARGO_TARGET_DIR in the environment, each repository or project has one of its own:
# cargo takes two of one name for one another. A folder that make is given is taken as it is.
ifdef CARGO_TARGET_DIR
OWN := $(CARGO_TARGET_DIR)/plugins/$(shell printf %s '$(realpath $(ROOT))' | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c 1-16)
else
OWN := $(ROOT)/target/plugins
endif
export CARGO_TARGET_DIR := $(OWN)

# Cargo tells what it has compiled, of packages that lie beside, too.
TOLD = cat "$(CARGO_TARGET_DIR)/wasm32-unknown-unknown/release/$(subst -,_,$(NAME)).d"
TOLD_AS := --rules

$(PART): always
	@$(TOOLS)rust-plugin.sh $(NAME) $@

# Not quiet the first time, when it compiles for a while.
unit-test:
	cargo test $(if $(wildcard $(CARGO_TARGET_DIR)/debug/deps/$(subst -,_,$(NAME))-*),--quiet)

.PHONY: lint
lint:
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
