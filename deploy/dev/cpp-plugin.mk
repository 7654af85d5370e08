# The Makefile of a plugin in C++: plugin.cpp and any other *.cpp, *.c, *.hpp and *.h, here or in
# src/; tests in *_test.cpp, each a program; and bindings/ as wit-bindgen writes them for C.

include $(dir $(lastword $(MAKEFILE_LIST)))plugin.mk

LANGUAGE := C++23
LANGUAGE_TOOLS = "zig $$(zig version)"
ORIGIN_PATH = export PATH="$$($(TOOLS)tools-zig.sh):$$PATH";
# The compiler keeps what it compiled of each file and the headers in it, and its standard library
# with each of the flags: asked again, it knows what has changed.
WITH_ZIG := export PATH="$$($(TOOLS)tools-zig.sh):$$PATH" ZIG_LOCAL_CACHE_DIR=build/zig-cache &&

# Zig would leave assertions out.
CFLAGS := -g -Os -UNDEBUG -Wall -Wextra
# Publication{.due = …}: all else is as it is when nothing is set.
CXXFLAGS := $(CFLAGS) -std=c++23 -Wno-missing-designated-field-initializers
INCLUDES := -I. $(if $(wildcard src),-Isrc) -I$(TOOLS)cpp -I$(TOOLS)c
TESTS := $(wildcard *_test.cpp src/*_test.cpp)
SOURCES := $(filter-out $(TESTS),$(wildcard *.cpp *.c src/*.cpp src/*.c))
GLUE := $(TOOLS)cpp/glue.cpp $(TOOLS)cpp/exceptions.cpp bindings/plugin.c

# objects FOLDER SOURCES: what is compiled of them.
objects = $(addprefix build/$1/,$(addsuffix .o,$2))

# The object of $<. The first time it takes a while.
compile = mkdir -p $(dir $@) && { [ -e $@ ] || echo 'compiling $<'; } && $(WITH_ZIG) $(COMPILER) $(INCLUDES) -c $< -o $@

build/sandbox/%.cpp.o: COMPILER = zig c++ -target wasm32-wasi $(CXXFLAGS)
build/sandbox/%.cpp.o: %.cpp always
	@$(compile)

build/sandbox/%.c.o: COMPILER = zig cc -target wasm32-wasi $(CFLAGS)
build/sandbox/%.c.o: %.c always
	@$(compile)

# An object that the compiler has kept is as old as it was then.
$(PART): $(call objects,sandbox,$(SOURCES) $(GLUE)) always
	@mkdir -p $(@D)
	@$(WITH_ZIG) zig c++ -target wasm32-wasi $(CFLAGS) -mexec-model=reactor $(filter %.o,$^) bindings/plugin_component_type.o \
		$(LDLIBS) -o $(CORE)
	@$(TOOLS)strip-debug.sh $(CORE) $@.new
	@$(kept)

# What is not found, -MG takes for made later: the standard library is, whose place `zig c++` alone knows.
TOLD = $(WITH_ZIG) zig c++ -target wasm32-wasi $(CXXFLAGS) $(INCLUDES) -MM -MG $(filter %.cpp,$(SOURCES)); \
	$(if $(filter %.c,$(SOURCES)),zig cc -target wasm32-wasi $(CFLAGS) $(INCLUDES) -MM -MG $(filter %.c,$(SOURCES));) \
	echo 'linked: $(filter %.a %.o,$(LDLIBS))'
TOLD_AS := --rules

# Natively, with the same compiler and standard library.
build/native/%.cpp.o: COMPILER = zig c++ $(CXXFLAGS)
build/native/%.cpp.o: %.cpp always
	@$(compile)

build/native/%.c.o: COMPILER = zig cc $(CFLAGS)
build/native/%.c.o: %.c always
	@$(compile)

build/native/%_test: build/native/%_test.cpp.o $(call objects,native,$(SOURCES) $(TOOLS)cpp/fakes.cpp) always
	@$(WITH_ZIG) zig c++ $(CFLAGS) $(filter %.o,$^) $(LDLIBS) -o $@

# Objects stay, as the compiler's cache does.
.SECONDARY:

unit-test: $(TESTS:%.cpp=build/native/%)
	@for test in $^; do echo $$test; $$test || exit; done
