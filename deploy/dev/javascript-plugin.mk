# The Makefile of a plugin in JavaScript or TypeScript: plugin.js or plugin.ts, any other
# modules, and tests in *.test.js or *.test.ts. The packages of package.json become part of
# the plugin.

JAVASCRIPT_TOOLS := $(dir $(lastword $(MAKEFILE_LIST)))
TOOL_FILES := $(wildcard $(addprefix $(JAVASCRIPT_TOOLS),tools-javascript.sh javascript/*))
BEGINS_AHEAD := yes
include $(JAVASCRIPT_TOOLS)plugin.mk

LANGUAGE := $(if $(wildcard plugin.ts),TypeScript,JavaScript)
LANGUAGE_TOOLS = "componentize-js $$(sed -n 's/^version=//p' $(TOOLS)tools-javascript.sh)" \
	"esbuild $$(sed -n 's/^esbuild=//p' $(TOOLS)tools-javascript.sh)"
WITH_NODE := PATH="$$($(TOOLS)tools-javascript.sh):$$PATH" &&

# What npm has installed, by content: which of two files is older does not tell whether both were
# written within a tick of the clock. Somebody may remove node_modules.
installed = { cat $(1) package-lock.json; ls -d node_modules || true; } 2>/dev/null

build/packages: always
	@mkdir -p build
	@$(call installed,package.json) | cmp -s - $@ || { \
		cp package.json $@.new && \
		if grep -qi 'dependencies"' $@.new; then $(WITH_NODE) npm install --loglevel=error --no-audit --no-fund >&2; fi && \
		$(call installed,$@.new) >$@ && rm $@.new; }

# The bundle is the whole plugin, wherever its modules lie: esbuild knows, and takes no time.
build/key: build/packages always
	@$(WITH_NODE) node $(TOOLS)javascript/build.mjs bundle build/bundle.js
	@cat build/bundle.js $(WIT) $(TOOL_FILES) >$@.new
	@$(kept)

# The same whatever the sources are.
build/next.key: always
	@mkdir -p build
	@{ cat $(WIT) $(TOOL_FILES); $(WITH_NODE) node --version; } >$@.new
	@$(kept)

build/ahead: build/next.key always
	@echo '$(WITH_NODE) exec $(TOOLS)ahead.sh begin build/next build/next.key node $(TOOLS)javascript/build.mjs next $(INTERFACE)' >$@

TOLD = cat build/bundle.js.inputs

$(PART): build/key build/next.key
	@$(WITH_NODE) $(TOOLS)once.sh build/key $@ 'building $(NAME).wasm with componentize-js, which takes half a minute or more' \
		node $(TOOLS)javascript/build.mjs plugin build/bundle.js $@.new $(INTERFACE)

unit-test: build/packages
	@$(WITH_NODE) if [ -e node_modules/.bin/tsc ]; then node_modules/.bin/tsc --noEmit; \
	elif [ -e plugin.ts ]; then \
		echo 'the types are not checked: typescript is not among the devDependencies of package.json' >&2; fi
	$(WITH_NODE) node $(TOOLS)javascript/build.mjs test
