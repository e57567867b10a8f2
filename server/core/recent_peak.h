// The highest value of the last minutes. Plain state.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "server/core/clock.h"

namespace pglessor::core {

// Kept in slices of a minute, of which the oldest is dropped.
class RecentPeak {
 public:
  void Record(Time now, int32_t value) {
    const int64_t number = now.time_since_epoch() / kSlice;
    Slice& slice = slices_[static_cast<size_t>(number) % kSlices];
    if (slice.number != number) slice = {number, value};
    slice.peak = std::max(slice.peak, value);
  }

  // Of the last four to five minutes; 0 if nothing was recorded.
  int32_t Peak(Time now) const {
    const int64_t oldest = now.time_since_epoch() / kSlice - static_cast<int64_t>(kSlices) + 1;
    int32_t peak = 0;
    for (const Slice& slice : slices_) {
      if (slice.number >= oldest) peak = std::max(peak, slice.peak);
    }
    return peak;
  }

 private:
  static constexpr size_t kSlices = 5;
  static constexpr Duration kSlice = std::chrono::minutes(1);

  struct Slice {
    int64_t number = -1;  // the time divided by kSlice; -1 = never used
    int32_t peak = 0;
  };

  std::array<Slice, kSlices> slices_;
};

}  // namespace pglessor::core
