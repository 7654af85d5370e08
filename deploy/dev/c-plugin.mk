# The Makefile of a plugin in C: plugin.c, its test plugin_test.c, and bindings/
# as wit-bindgen writes them.

include $(dir $(lastword $(MAKEFILE_LIST)))plugin.mk

CC := cc
CFLAGS := -O2 -Wall -Wextra

$(PLUGIN): plugin.c bindings/plugin.c bindings/plugin_component_type.o
	@mkdir -p build
	PATH="$$($(TOOLS)tools-c.sh):$$PATH" && wasm32-wasi-clang $(CFLAGS) -mexec-model=reactor -s $^ -o $@

# Natively. The linker leaves out what of the bindings only WebAssembly has.
build/test: plugin_test.c plugin.c bindings/plugin.c
	@mkdir -p build
	$(CC) -g -Wall -Wextra -Wno-attributes -ffunction-sections -Wl,--gc-sections $^ -o $@

# Cases in NAME.cases.toml need none of it: mo-router plugin test .
TEST := $(if $(wildcard plugin_test.c),build/test)
test: $(TEST)
	$(if $(TEST),$(TEST),@echo 'no plugin_test.c, so no unit tests')

# When the interface has changed: cargo install wit-bindgen-cli --version 0.63.0
.PHONY: bindings
bindings:
	wit-bindgen c --world plugin --out-dir bindings $(ROOT)/wit
