# The Makefile of a plugin in Python: plugin.py, any other modules, and tests in test_*.py.
# What requirements.txt asks for becomes part of the plugin.

PYTHON_TOOLS := $(dir $(lastword $(MAKEFILE_LIST)))
TOOL_FILES := $(wildcard $(addprefix $(PYTHON_TOOLS),tools-python.sh python/*.py python/*.sh))
BEGINS_AHEAD := yes
include $(PYTHON_TOOLS)plugin.mk

LANGUAGE := Python 3.14
LANGUAGE_TOOLS = "componentize-py $$(sed -n 's/^version=//p' $(TOOLS)tools-python.sh)"
HASH := $(shell command -v sha256sum || echo shasum -a 256)
WITH_PYTHON := PATH="$$($(TOOLS)tools-python.sh):$$PATH" &&
# For unit tests, the same Python as the plugin's if it is here.
PYTHON ?= $(shell command -v python3.14 || command -v python3)

# Any file may be part of it: what is imported is found out by componentize-py.
build/inputs: always
	@mkdir -p build
	@$(TOOLS)inputs.sh $(WIT) $(TOOL_FILES) >$@.new
	@$(kept)

build/requirements: always
	@mkdir -p build
	@$(TOOLS)python/requirements.sh >$@.new
	@$(kept)

TOLD = sed -n 's/^\# //p' build/requirements

build/packages: build/requirements $(TOOLS)python/packages.sh
	@rm -f build/next # which has the folder as it was
	@$(WITH_PYTHON) $(TOOLS)python/packages.sh $@
	@touch $@

# With what is in the packages: requirements.txt may leave their versions open. What Python compiles of
# them when it imports them follows from them.
build/key: build/inputs build/packages
	@{ cat build/inputs; find -L build/packages -name __pycache__ -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 $(HASH); } >$@

# The same whatever the sources are.
build/next.key: build/key
	@{ cat $(WIT) $(TOOL_FILES); LC_ALL=C grep -av ' [ *]\./' build/key; } >$@.new
	@$(kept)

build/ahead: build/next.key always
	@echo '$(WITH_PYTHON) exec $(TOOLS)ahead.sh begin build/next build/next.key $(TOOLS)python/componentize.sh $(INTERFACE) $(TOOLS)python build/packages' >$@

$(PART): build/key build/next.key
	@$(WITH_PYTHON) $(TOOLS)once.sh build/key $@ 'building $(NAME).wasm with componentize-py, which takes half a minute or more' \
		$(TOOLS)python/build.sh $(INTERFACE) $(TOOLS)python build/packages build/inputs $@.new

# The types of the interface, for tests and editors.
build/bindings: $(WIT) $(TOOLS)tools-python.sh
	@mkdir -p build
	@rm -rf $@ $@.new
	@$(WITH_PYTHON) componentize-py --wit-path $(INTERFACE) --world plugin bindings $@.new
	@touch $@.new $@.new/componentize_py_types.py
	@mv $@.new $@

unit-test: build/bindings build/packages
	@echo "unit tests with $$($(PYTHON) --version); the plugin itself runs on Python 3.14"
	$(if $(wildcard test_*.py),PYTHONPATH=build/bindings:$(TOOLS)python:build/packages $(PYTHON) -m unittest --verbose,@echo 'no test_*.py, so no unit tests')
