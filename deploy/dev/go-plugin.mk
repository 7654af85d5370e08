# The Makefile of a plugin in Go: the package filter, its test, and bindings/ as
# wit-bindgen writes them.

include $(dir $(lastword $(MAKEFILE_LIST)))plugin.mk

WITH_GO := PATH="$$($(TOOLS)tools-go.sh):$$PATH" &&
SOURCES := $(shell find . -name '*.go')

# The component type is a section of its own, which can stand at the end.
$(PLUGIN): $(SOURCES) go.mod bindings/component-type.section
	@mkdir -p build
	$(WITH_GO) GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags '-s -w -checklinkname=0' -o build/core.wasm .
	cat build/core.wasm bindings/component-type.section >$@

test:
	$(WITH_GO) go test ./filter

# When the interface has changed: cargo install wit-bindgen-cli --version 0.63.0,
# and wasm-tools. What it embeds in an empty module, after 8 bytes, is the type.
.PHONY: bindings
bindings:
	wit-bindgen go --world plugin --pkg-name mo-plugin/$(NAME)/bindings --out-dir bindings $(ROOT)/wit
	printf '\0asm\1\0\0\0' | wasm-tools component embed --world plugin $(ROOT)/wit - | \
		tail -c +9 >bindings/component-type.section
