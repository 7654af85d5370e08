# The Makefile of a plugin in JavaScript or TypeScript: plugin.js or plugin.ts, any other
# modules, and tests in *.test.js or *.test.ts. The packages of package.json become part of
# the plugin.

JAVASCRIPT_TOOLS := $(dir $(lastword $(MAKEFILE_LIST)))
TOOL_FILES := $(wildcard $(addprefix $(JAVASCRIPT_TOOLS),tools-javascript.sh javascript/*))
include $(JAVASCRIPT_TOOLS)plugin.mk

LANGUAGE := $(if $(wildcard plugin.ts),TypeScript,JavaScript)
LANGUAGE_TOOLS = "componentize-js $$(sed -n 's/^version=//p' $(TOOLS)tools-javascript.sh)" \
	"esbuild $$(sed -n 's/^esbuild=//p' $(TOOLS)tools-javascript.sh)"
WITH_NODE := PATH="$$($(TOOLS)tools-javascript.sh):$$PATH" &&

# It has the folder's name if there were packages, which somebody may remove.
build/packages: package.json $(wildcard package-lock.json) $(if $(wildcard node_modules),,$(if $(shell cat build/packages 2>/dev/null),always))
	@mkdir -p build
	@if grep -qi 'dependencies"' package.json; then $(WITH_NODE) npm install --loglevel=error --no-audit --no-fund >&2; fi
	@ls -d node_modules >$@ 2>/dev/null || true

# The bundle is the whole plugin, wherever its modules lie: esbuild knows, and takes no time.
build/key: build/packages always
	@$(WITH_NODE) node $(TOOLS)javascript/build.mjs bundle build/bundle.js
	@cat build/bundle.js $(WIT) $(TOOL_FILES) >$@.new
	@$(kept)

TOLD = cat build/bundle.js.inputs

$(PART): build/key
	@$(WITH_NODE) $(TOOLS)once.sh build/key $@ 'building $(NAME).wasm with componentize-js, which takes half a minute or more' \
		node $(TOOLS)javascript/build.mjs plugin build/bundle.js $@.new $(INTERFACE)

unit-test: build/packages
	@$(WITH_NODE) if [ -e node_modules/.bin/tsc ]; then node_modules/.bin/tsc --noEmit; \
	elif [ -e plugin.ts ]; then \
		echo 'the types are not checked: typescript is not among the devDependencies of package.json' >&2; fi
	$(WITH_NODE) node $(TOOLS)javascript/build.mjs test
