# The Makefile of a plugin in Go: the package filter, any others, and bindings/ as
# wit-bindgen writes them.

include $(dir $(lastword $(MAKEFILE_LIST)))plugin.mk

WITH_GO := PATH="$$($(TOOLS)tools-go.sh):$$PATH" &&
LANGUAGE := Go
LANGUAGE_TOOLS = "go $$(go env GOVERSION | sed s/^go//)"
ORIGIN_PATH = export PATH="$$($(TOOLS)tools-go.sh):$$PATH";

# The component type is a section of its own, which can stand at the end.
$(PART): always
	@mkdir -p $(@D)
	@$(WITH_GO) GOOS=wasip1 GOARCH=wasm go build -trimpath -buildvcs=false -buildmode=c-shared \
		-ldflags '-s -w -checklinkname=0' -o $(CORE) .
	@cat $(CORE) bindings/component-type.section >$@.new
	@$(kept)

# The files of its packages, but for those of Go and what `go get` has got.
TOLD = $(WITH_GO) GOOS=wasip1 GOARCH=wasm go list -deps -f '{{if not .Standard}}$(call files_of,GoFiles)$(call files_of,EmbedFiles){{end}}' . | \
	grep -v "^$$($(WITH_GO) go env GOMODCACHE)/"
files_of = {{range .$1}}{{$$.Dir}}/{{.}}{{"\n"}}{{end}}

unit-test:
	$(WITH_GO) go test $$(go list ./... | grep -v /bindings)

# When the interface has changed: cargo install wit-bindgen-cli --version 0.63.0,
# and wasm-tools. What it embeds in an empty module, after 8 bytes, is the type.
.PHONY: bindings
bindings:
	wit-bindgen go --world plugin --pkg-name mo-plugin/$(NAME)/bindings --out-dir bindings $(INTERFACE)
	printf '\0asm\1\0\0\0' | wasm-tools component embed --world plugin $(INTERFACE) - | \
		tail -c +9 >bindings/component-type.section
