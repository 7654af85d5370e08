#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "fakes.h"

static exports_os2mo_router_filter_list_publication_t copies(void) {
    exports_os2mo_router_filter_event_t event = {0};
    exports_os2mo_router_filter_list_publication_t publications;
    exports_os2mo_router_filter_failure_t failure;
    assert(exports_os2mo_router_filter_route(&event, &publications, &failure));
    return publications;
}

int main(void) {
    assert(copies().len == 0);
    fake_setting("copy-b", "two");
    fake_setting("other", "");
    fake_setting("copy-a", "one");
    fake_setting("copy-c", NULL);
    exports_os2mo_router_filter_list_publication_t found = copies();
    assert(found.len == 2);
    assert(!memcmp(found.ptr[0].routing_key.val.ptr, "one", 3));
    assert(!memcmp(found.ptr[1].routing_key.val.ptr, "two", 3));
    return 0;
}
