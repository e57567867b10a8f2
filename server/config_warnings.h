// What of a configuration works, and may not be what is meant.
#pragma once

#include <string>
#include <vector>

#include "server/config.h"

namespace pglessor {

// A sentence each, for the log. `bound` is the first address that the server listens on.
std::vector<std::string> WarningsOf(const Config& config, const std::string& bound);

}  // namespace pglessor
