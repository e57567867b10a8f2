// How urgent an acquire is, as its caller says.
#pragma once

namespace pglessor::core {

enum class Priority { kLow = 1, kNormal = 2, kHigh = 3 };

}  // namespace pglessor::core
