#undef NDEBUG
#include <cassert>

#include "fakes.h"

using namespace router;

int main() {
    assert(std::get<Publications>(plugin::route({})).empty());
    fakes::set("copy-b", "two");
    fakes::set("other", "");
    fakes::set("copy-a", "one");
    Publications both{{.routing_key = "one"}, {.routing_key = "two"}};
    assert(std::get<Publications>(plugin::route({})) == both);
}
