# The Makefile of a plugin in JavaScript: plugin.js and its test plugin.test.js.

include $(dir $(lastword $(MAKEFILE_LIST)))plugin.mk

# Without what the router does not grant.
$(PLUGIN): plugin.js $(WIT)
	@mkdir -p build
	PATH="$$($(TOOLS)tools-javascript.sh):$$PATH" && componentize-js plugin.js \
		--wit $(ROOT)/wit --world-name plugin --disable http fetch-event --out $@

test:
	PATH="$$($(TOOLS)tools-javascript.sh):$$PATH" && node --test
