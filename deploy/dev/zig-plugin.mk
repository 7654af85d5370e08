# The Makefile of a plugin in Zig: src/plugin.zig and what it imports, with tests in any of them;
# build.zig; and bindings/ as wit-bindgen writes them for C.

VERSION := $(shell sed -nE 's/^ *\.version = "(.*)",.*/\1/p' build.zig.zon)
include $(dir $(lastword $(MAKEFILE_LIST)))plugin.mk

LANGUAGE := Zig
LANGUAGE_TOOLS = "zig $$(zig version)"
ORIGIN_PATH = export PATH="$$($(TOOLS)tools-zig.sh):$$PATH";
WITH_ZIG := PATH="$$($(TOOLS)tools-zig.sh):$$PATH" &&

# What `mo-router plugin dev` tries at once is built sooner; what is installed is not.
DEV := $(if $(filter install,$(MAKECMDGOALS)),,$(PLUGIN_DEV))

$(PART): always
	@mkdir -p $(@D)
	@$(WITH_ZIG) zig build $(if $(DEV),-Ddev) --cache-dir build/zig-cache --prefix build/zig
	@$(if $(DEV),cp,$(TOOLS)strip-debug.sh) build/zig/plugin.wasm $(CORE)
	@cmp -s $(CORE) $@ || cp $(CORE) $@

# Zig does not tell: what build.zig and build.zig.zon name, and these files of what they name.
TOLD = $(TOOLS)zig/beside.sh

unit-test:
	$(WITH_ZIG) zig build test --cache-dir build/zig-cache --summary all
