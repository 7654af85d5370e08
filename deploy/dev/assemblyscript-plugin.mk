# The Makefile of a plugin in AssemblyScript: assembly/plugin.ts and what it imports.

ASSEMBLYSCRIPT_TOOLS := $(dir $(lastword $(MAKEFILE_LIST)))
TOOL_FILES := $(wildcard $(ASSEMBLYSCRIPT_TOOLS)tools-assemblyscript.sh)
include $(ASSEMBLYSCRIPT_TOOLS)plugin.mk

LANGUAGE := AssemblyScript
LANGUAGE_TOOLS = "assemblyscript $$(sed -n 's/^version=//p' $(TOOLS)tools-assemblyscript.sh)"
STAMP_NAME = $(NAME)

# The component type is a section of its own, which can stand at the end.
$(PART): build/inputs
	@mkdir -p $(@D)
	PATH="$$($(TOOLS)tools-assemblyscript.sh):$$PATH" && node build.mjs assembly/entry.ts $(CORE)
	@cat $(CORE) bindings/component-type.section >$@

# AssemblyScript runs in WebAssembly alone: the cases are its tests.
unit-test:
