// How long something took over the last minute: count, percentiles, maximum; and, since the start, count
// and sum. Plain state.
//
// A histogram of geometric buckets, eight to a doubling, so that a percentile is at most one eighth too
// high; kept in slices of ten seconds, of which the oldest is dropped.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "server/core/clock.h"

namespace pglessor::core {

struct DurationSummary {
  int64_t count = 0;
  Duration p50{};
  Duration p90{};
  Duration p99{};
  Duration max{};
  // Since the start.
  int64_t ever_count = 0;
  double ever_seconds = 0;  // a sum that no Duration could overflow
};

class RecentDurations {
 public:
  // Cost: O(1), and O(buckets) once a slice.
  void Record(Time now, Duration duration);
  // Of the last 50 to 60 seconds.
  DurationSummary Summary(Time now) const;

 private:
  static constexpr int kBuckets = 512;
  static constexpr int kSlices = 6;
  static constexpr Duration kSlice = std::chrono::seconds(10);

  struct Slice {
    int64_t number = -1;  // the time divided by kSlice; -1 = never used
    Duration max{};
    std::array<uint32_t, kBuckets> counts{};
  };

  // The slice that `now` is in becomes the present one.
  void Begin(Time now);
  static int BucketOf(Duration duration);
  static Duration UpperBound(int bucket);

  std::array<Slice, kSlices> slices_;
  size_t present_ = 0;
  Time present_begin_{};
  Time present_end_{};
  int64_t ever_count_ = 0;
  double ever_seconds_ = 0;
};

}  // namespace pglessor::core
