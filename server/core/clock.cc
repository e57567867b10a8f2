#include "server/core/clock.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace pglessor::core {

std::string Milliseconds(Duration span) {
  const int64_t microseconds = span.count() / 1'000;
  return absl::StrCat(static_cast<double>(microseconds) / 1'000.0);
}

}  // namespace pglessor::core
