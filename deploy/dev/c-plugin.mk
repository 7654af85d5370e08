# The Makefile of a plugin in C: plugin.c and any other *.c and *.h, here or in src/; tests
# in *_test.c, each a program; and bindings/ as wit-bindgen writes them.

include $(dir $(lastword $(MAKEFILE_LIST)))plugin.mk

LANGUAGE := C
LANGUAGE_TOOLS = "clang $$(wasm32-wasi-clang -dumpversion)"
ORIGIN_PATH = export PATH="$$($(TOOLS)tools-c.sh):$$PATH";

CC := cc
CFLAGS := -O2 -Wall -Wextra
INCLUDES := -I. $(if $(wildcard src),-Isrc) -I$(TOOLS)c
TESTS := $(wildcard *_test.c src/*_test.c)
SOURCES := $(filter-out $(TESTS),$(wildcard *.c src/*.c)) bindings/plugin.c

# The names of functions stay in the file: a trap says where it happened.
$(PART): always
	@mkdir -p $(@D)
	@PATH="$$($(TOOLS)tools-c.sh):$$PATH" && wasm32-wasi-clang $(CFLAGS) $(INCLUDES) -mexec-model=reactor \
		-Wl,--strip-debug $(SOURCES) bindings/plugin_component_type.o $(LDLIBS) -o $@.new
	@$(kept)

TOLD = PATH="$$($(TOOLS)tools-c.sh):$$PATH" && wasm32-wasi-clang $(CFLAGS) $(INCLUDES) -MM $(SOURCES); \
	echo 'linked: $(filter %.a %.o,$(LDLIBS))'
TOLD_AS := --rules

# Natively. The linker leaves out what of the bindings only WebAssembly has.
build/tests/%: %.c always
	@mkdir -p $(dir $@)
	@$(CC) -g -Wall -Wextra -Wno-attributes $(INCLUDES) -ffunction-sections -Wl,--gc-sections $< $(SOURCES) \
		$(TOOLS)c/fakes.c $(LDLIBS) -o $@

unit-test: $(TESTS:%.c=build/tests/%)
	@for test in $^; do echo $$test; $$test || exit; done

# When the interface has changed: cargo install wit-bindgen-cli --version 0.63.0
.PHONY: bindings
bindings:
	wit-bindgen c --world plugin --out-dir bindings $(INTERFACE)
