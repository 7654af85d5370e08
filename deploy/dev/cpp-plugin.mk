# The Makefile of a plugin in C++: plugin.cpp and any other *.cpp, *.c, *.hpp and *.h, here or in
# src/; tests in *_test.cpp, each a program; and bindings/ as wit-bindgen writes them for C.

CPP_TOOLS := $(dir $(lastword $(MAKEFILE_LIST)))
TOOL_FILES := $(wildcard $(addprefix $(CPP_TOOLS),tools-zig.sh strip-debug.sh cpp/* c/*))
include $(CPP_TOOLS)plugin.mk

LANGUAGE := C++23
LANGUAGE_TOOLS = "zig $$(zig version)"
ORIGIN_PATH = export PATH="$$($(TOOLS)tools-zig.sh):$$PATH";
# The compiler keeps what it compiled of each file, and its standard library with each of the flags.
WITH_ZIG := export PATH="$$($(TOOLS)tools-zig.sh):$$PATH" ZIG_LOCAL_CACHE_DIR=build/zig-cache &&

# Zig would leave assertions out.
CFLAGS := -g -Os -UNDEBUG -Wall -Wextra
# Publication{.due = …}: all else is as it is when nothing is set.
CXXFLAGS := $(CFLAGS) -std=c++23 -Wno-missing-designated-field-initializers
INCLUDES := -I. -I$(TOOLS)cpp -I$(TOOLS)c
TESTS := $(wildcard *_test.cpp src/*_test.cpp)
SOURCES := $(filter-out $(TESTS),$(wildcard *.cpp *.c src/*.cpp src/*.c))
GLUE := $(TOOLS)cpp/glue.cpp $(TOOLS)cpp/exceptions.cpp bindings/plugin.c

# objects FOLDER SOURCES: what is compiled of them.
objects = $(addprefix build/$1/,$(addsuffix .o,$2))

build/sandbox/%.cpp.o: %.cpp build/inputs
	@mkdir -p $(dir $@)
	$(WITH_ZIG) zig c++ -target wasm32-wasi $(CXXFLAGS) $(INCLUDES) -c $< -o $@

build/sandbox/%.c.o: %.c build/inputs
	@mkdir -p $(dir $@)
	$(WITH_ZIG) zig cc -target wasm32-wasi $(CFLAGS) $(INCLUDES) -c $< -o $@

$(PART): $(call objects,sandbox,$(SOURCES) $(GLUE))
	@mkdir -p $(@D)
	$(WITH_ZIG) zig c++ -target wasm32-wasi $(CFLAGS) -mexec-model=reactor $^ bindings/plugin_component_type.o $(LDLIBS) -o $(CORE)
	@$(TOOLS)strip-debug.sh $(CORE) $@

# Natively, with the same compiler and standard library.
build/native/%.cpp.o: %.cpp build/inputs
	@mkdir -p $(dir $@)
	$(WITH_ZIG) zig c++ $(CXXFLAGS) $(INCLUDES) -c $< -o $@

build/native/%.c.o: %.c build/inputs
	@mkdir -p $(dir $@)
	$(WITH_ZIG) zig cc $(CFLAGS) $(INCLUDES) -c $< -o $@

build/native/%_test: build/native/%_test.cpp.o $(call objects,native,$(SOURCES) $(TOOLS)cpp/fakes.cpp)
	$(WITH_ZIG) zig c++ $(CFLAGS) $^ $(LDLIBS) -o $@

# Objects stay, as the compiler's cache does.
.SECONDARY:

unit-test: $(TESTS:%.cpp=build/native/%)
	@for test in $^; do echo $$test; $$test || exit; done
