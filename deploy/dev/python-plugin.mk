# The Makefile of a plugin in Python: plugin.py and its test test_plugin.py.

include $(dir $(lastword $(MAKEFILE_LIST)))plugin.mk

COMPONENTIZE := PATH="$$($(TOOLS)tools-python.sh):$$PATH" && componentize-py --wit-path $(ROOT)/wit --world plugin

$(PLUGIN): plugin.py $(WIT)
	@mkdir -p build
	$(COMPONENTIZE) componentize plugin --output $@

# The types of the interface, for tests and editors.
build/bindings: $(WIT)
	rm -rf $@
	$(COMPONENTIZE) bindings $@

test: build/bindings
	$(if $(wildcard test_*.py),PYTHONPATH=build/bindings python3 -m unittest --verbose,@echo 'no test_*.py, so no unit tests')
