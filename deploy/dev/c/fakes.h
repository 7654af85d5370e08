// What the router provides to a plugin, for unit tests, which run natively.
#pragma once
#include "bindings/plugin.h"

// Sets `[plugin.NAME] config.KEY`; no value is as if it were not set.
void fake_setting(const char *key, const char *value);
// Forgets all settings and what was logged.
void fake_reset(void);
// What was logged last, and at which level; NULL if nothing was.
const char *fake_logged(void);
wasi_logging_logging_level_t fake_logged_level(void);
