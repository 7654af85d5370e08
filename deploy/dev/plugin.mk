# What the Makefiles of all example plugins share. Each lives in a folder of its
# plugin's name under examples/, has a rule for $(PLUGIN) and a target `test`.

NAME ?= $(notdir $(CURDIR))
TOOLS := $(dir $(lastword $(MAKEFILE_LIST)))
ROOT ?= $(abspath $(TOOLS)/../..)
PLUGINS_DIR ?= $(ROOT)/plugins
PLUGIN := build/$(NAME).wasm
WIT := $(shell find $(ROOT)/wit -name '*.wit')

.PHONY: all test install clean

all: $(PLUGIN)

# The router watches the folder: it must never see half a file.
install: $(PLUGIN)
	@mkdir -p $(PLUGINS_DIR)
	cp $(PLUGIN) $(PLUGINS_DIR)/.$(NAME).wasm.new
	mv $(PLUGINS_DIR)/.$(NAME).wasm.new $(PLUGINS_DIR)/$(NAME).wasm

clean:
	rm -rf build
