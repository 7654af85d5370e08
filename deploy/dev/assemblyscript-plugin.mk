# The Makefile of a plugin in AssemblyScript: assembly/plugin.ts and what it imports.

include $(dir $(lastword $(MAKEFILE_LIST)))plugin.mk

LANGUAGE := AssemblyScript
LANGUAGE_TOOLS = "assemblyscript $$(sed -n 's/^version=//p' $(TOOLS)tools-assemblyscript.sh)"

# The component type is a section of its own, which can stand at the end.
$(PART): always
	@mkdir -p $(@D)
	@PATH="$$($(TOOLS)tools-assemblyscript.sh):$$PATH" && node build.mjs assembly/entry.ts $(CORE)
	@cat $(CORE) bindings/component-type.section >$@.new
	@$(kept)

# AssemblyScript runs in WebAssembly alone: the cases are its tests.
unit-test:
