// Exceptions in the sandbox, where none can be caught: throwing one ends the call, and its type
// and what it says are in the reason of the failure. What catches one compiles, and never runs.
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cxxabi.h>
#include <exception>
#include <stdexcept>
#include <string>
#include <typeinfo>

namespace {

// How the C++ ABI of Itanium describes a class with one base, which stands at its beginning.
struct Derived {
    const void *kind;
    const char *name;
    const std::type_info *base;
};

const Derived &described(const std::type_info &type) {
    return reinterpret_cast<const Derived &>(type);
}

bool is_exception(const std::type_info &type) {
    const void *derived = described(typeid(std::runtime_error)).kind;
    const std::type_info *at = &type;
    while (*at != typeid(std::exception)) {
        if (described(*at).kind != derived) {
            return false;
        }
        at = described(*at).base;
    }
    return true;
}

// The name of a type without parameters. The library's own function for this knows all names,
// and is larger than most plugins.
std::string readable(const char *mangled) {
    std::string name;
    const char *at = mangled;
    if (*at == 'N') {
        at++;
    }
    if (at[0] == 'S' && at[1] == 't') {
        name = "std";
        at += 2;
    }
    while (std::isdigit(*at)) {
        char *part;
        std::size_t length = std::strtoul(at, &part, 10);
        name += name.empty() ? "" : "::";
        name.append(part, length);
        at = part + length;
    }
    return *at == 'E' || !*at ? name : mangled;
}

} // namespace

namespace __cxxabiv1 {
extern "C" {

void *__cxa_allocate_exception(std::size_t size) noexcept {
    void *exception = std::malloc(size);
    return exception ? exception : (std::abort(), nullptr);
}

void __cxa_free_exception(void *exception) noexcept { std::free(exception); }

void __cxa_throw(void *thrown, std::type_info *type, void *(*)(void *)) {
    const char *what = is_exception(*type) ? static_cast<std::exception *>(thrown)->what() : "";
    std::fprintf(stderr, "threw %s: %s\n", readable(type->name()).c_str(), what);
    std::abort();
}
}
} // namespace __cxxabiv1
