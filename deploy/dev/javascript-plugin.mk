# The Makefile of a plugin in JavaScript or TypeScript: plugin.js or plugin.ts, any other
# modules, and tests in *.test.js or *.test.ts. The packages of package.json become part of
# the plugin.

JAVASCRIPT_TOOLS := $(dir $(lastword $(MAKEFILE_LIST)))
TOOL_FILES := $(wildcard $(addprefix $(JAVASCRIPT_TOOLS),tools-javascript.sh javascript/*))
include $(JAVASCRIPT_TOOLS)plugin.mk

LANGUAGE := $(if $(wildcard plugin.ts),TypeScript,JavaScript)
LANGUAGE_TOOLS = "componentize-js $$(sed -n 's/^version=//p' $(TOOLS)tools-javascript.sh)" \
	"esbuild $$(sed -n 's/^esbuild=//p' $(TOOLS)tools-javascript.sh)"
STAMP_NAME = $(NAME)
WITH_NODE := PATH="$$($(TOOLS)tools-javascript.sh):$$PATH" &&

# Before anything else: it writes package-lock.json, which the build depends on.
build/packages: package.json $(wildcard package-lock.json)
	@mkdir -p build
	@if grep -qi 'dependencies"' package.json; then $(WITH_NODE) npm install --silent --no-audit --no-fund >&2; fi
	@touch $@

build/inputs: | build/packages

$(PART): build/inputs
	@$(WITH_NODE) $(TOOLS)once.sh build/inputs $@ 'building $(NAME).wasm with componentize-js, which takes half a minute or more' \
		node $(TOOLS)javascript/build.mjs plugin $@ $(INTERFACE)

unit-test: build/packages
	@$(WITH_NODE) if [ -e node_modules/.bin/tsc ]; then node_modules/.bin/tsc --noEmit; fi
	$(WITH_NODE) node $(TOOLS)javascript/build.mjs test
