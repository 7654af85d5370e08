#include "fakes.h"

#include <cstdio>
#include <cstdlib>
#include <map>

namespace router {

static std::map<std::string, std::string, std::less<>> settings;
static std::vector<std::pair<Level, std::string>> lines;

std::string setting(std::string_view key, std::string_view otherwise) {
    auto found = settings.find(key);
    return found == settings.end() ? std::string(otherwise) : found->second;
}

std::map<std::string, std::string> all_settings() { return {settings.begin(), settings.end()}; }

void log(Level level, std::string_view message) { lines.emplace_back(level, message); }

namespace fakes {

void set(std::string_view key, std::string_view value) {
    settings.insert_or_assign(std::string(key), std::string(value));
}

const std::vector<std::pair<Level, std::string>> &logged() { return lines; }

Publications published(const Answer &answer) {
    if (auto found = std::get_if<Publications>(&answer)) {
        return *found;
    }
    auto retry = std::get_if<Retry>(&answer);
    std::fprintf(stderr, "route failed: %s: %s\n", retry ? "retry" : "reject",
                 retry ? retry->why.c_str() : std::get<Reject>(answer).why.c_str());
    std::abort();
}

void reset() {
    settings.clear();
    lines.clear();
}

} // namespace fakes
} // namespace router
