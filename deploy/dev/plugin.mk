# What the Makefiles of all example plugins share. Each lives in a folder of its
# plugin's name under examples/, and has a rule for $(PART), which is the plugin before it
# says what it is, and a target `unit-test`.

SHELL := /bin/bash
NAME ?= $(notdir $(CURDIR))
TOOLS := $(dir $(lastword $(MAKEFILE_LIST)))
ROOT ?= $(abspath $(TOOLS)/../..)
PLUGINS_DIR ?= $(ROOT)/plugins
PLUGIN := build/$(NAME).wasm
# Steps on the way, in a folder of their own: mo-router takes the WebAssembly in build/ for plugins.
PART := build/parts/plugin.wasm
CORE := build/parts/core.wasm
# A new project has the version that it is built against, the router's own folder has all.
INTERFACE := $(firstword $(wildcard $(ROOT)/wit/1.1.0) $(ROOT)/wit)
WIT := $(shell find -L $(INTERFACE) -name '*.wit')
# Its author's version: of the language's own file, or VERSION in the Makefile.
VERSION ?= $(or $(shell sed -nE 's/^ *"?version"? *[:=] *["'\'']([^"'\'']*)["'\''].*/\1/p' Cargo.toml package.json pyproject.toml 2>/dev/null | head -1),0.1.0)
# Runs the cases, NAME.cases.toml or NAME.cases.json, in the sandbox.
MO_ROUTER ?= mo-router
MO_ROUTER_IS_ASKED_FOR := $(filter-out file,$(origin MO_ROUTER))
# No shell sees them without quotes, since there may be spaces in them.
override MO_ROUTER := $(patsubst ~/%,$(HOME)/%,$(MO_ROUTER))
override PLUGINS_DIR := $(patsubst ~/%,$(HOME)/%,$(PLUGINS_DIR))
# The sandbox has no time zone but this: unit tests, which run natively, have none either.
export TZ := UTC

.PHONY: all test unit-test cases install clean always
.DELETE_ON_ERROR:

# How mo-router plugin dev begins the next build, also after one that fails.
ifdef PLUGIN_DEV
all: $(if $(BEGINS_AHEAD),build/ahead)
endif

all: $(PLUGIN)

# Everything is always built: only a language's own tools know what a plugin is made of. What comes
# out the same stays as it was, and what is made of it is not made again.
kept = cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# What the plugin is built from besides this folder, as the language's own tools tell (TOLD, a
# command); what they do not know, the Makefile names: BESIDE := ../schemas. A build that fails leaves
# it as it was.
build/beside: $(PART) always
	@{ $(or $(TOLD),:); } 2>/dev/null | $(TOOLS)beside.sh $(TOLD_AS) $(BESIDE) >$@.new
	@$(kept)

build/origin: build/beside always
	@mkdir -p build
	@$(ORIGIN_PATH) $(TOOLS)origin.sh "$(VERSION)" "$(LANGUAGE)" $(LANGUAGE_TOOLS) >$@.new
	@$(kept)

$(PLUGIN): $(PART) build/origin
	@$(TOOLS)stamp.sh $(PART) build/origin $@ $(NAME)

test: unit-test cases

CASES = $(wildcard $(NAME).cases.toml $(NAME).cases.json)

# In the sandbox, by the router that will run it.
cases: $(PLUGIN)
	@if [ -z "$(CASES)" ]; then echo 'there are no cases: neither $(NAME).cases.toml nor $(NAME).cases.json is here' >&2; \
	elif command -v "$(MO_ROUTER)" >/dev/null; then "$(MO_ROUTER)" plugin test .; \
	elif [ -n "$(MO_ROUTER_IS_ASKED_FOR)" ]; then echo 'there is no program $(MO_ROUTER): set MO_ROUTER to the path of mo-router' >&2; exit 1; \
	else echo '$(CASES): not run, because there is no mo-router here: set MO_ROUTER' >&2; fi

# The router watches the folder: it must never see half a file, and an unchanged one is
# left alone.
install: $(PLUGIN)
	@mkdir -p "$(PLUGINS_DIR)"
	@if cmp -s $(PLUGIN) "$(PLUGINS_DIR)/$(NAME).wasm"; then echo "$(NAME) in $(PLUGINS_DIR) is up to date"; else \
		cp $(PLUGIN) "$(PLUGINS_DIR)/.$(NAME).wasm.new" && \
		mv "$(PLUGINS_DIR)/.$(NAME).wasm.new" "$(PLUGINS_DIR)/$(NAME).wasm" && \
		echo "installed $(NAME) in $(PLUGINS_DIR)"; fi

clean:
	rm -rf build
