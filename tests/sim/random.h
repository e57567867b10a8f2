// All chance of a run: one engine from one seed. The standard library's distributions are left alone, since
// they draw differently from one library to the next, and a seed is to give the same run everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "server/core/clock.h"

namespace pglessor::core::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  // 0 to `bound` - 1. Requires: bound > 0.
  uint64_t Below(uint64_t bound) { return engine_() % bound; }
  int32_t From(int32_t least, int32_t most) {
    return least + static_cast<int32_t>(Below(static_cast<uint64_t>(most - least) + 1));
  }
  // To the nanosecond, so that two things happen at one instant only where that is meant.
  Duration Between(Duration least, Duration most) {
    return least + Duration(static_cast<int64_t>(Below(static_cast<uint64_t>((most - least).count()) + 1)));
  }
  bool Percent(uint64_t chance) { return Below(100) < chance; }
  // Requires: not empty.
  template <typename T>
  const T& Any(const std::vector<T>& choices) {
    return choices[static_cast<size_t>(Below(choices.size()))];
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace pglessor::core::sim
