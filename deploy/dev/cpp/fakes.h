// What takes the router's place in unit tests, which run natively.
#pragma once
#include "router.h"

namespace router::fakes {

// Sets `[plugin.NAME] config.KEY`.
void set(std::string_view key, std::string_view value);
// What was logged so far.
const std::vector<std::pair<Level, std::string>> &logged();
// The publications of an answer. A failure ends the test, with its reason.
Publications published(const Answer &answer);
// Forgets all settings and what was logged.
void reset();

} // namespace router::fakes
