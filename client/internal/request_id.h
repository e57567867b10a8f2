// The name of one Acquire, by which the server knows a repetition of it.
#pragma once

#include <string>

namespace pglessor::internal {

// A random UUID (version 4), from the machine's own source.
std::string NewRequestId();

}  // namespace pglessor::internal
