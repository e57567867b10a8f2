#include "server/core/recent_durations.h"

#include <algorithm>
#include <bit>

namespace pglessor::core {
namespace {

constexpr int kPerDoublingBits = 3;
constexpr uint64_t kPerDoubling = 1U << kPerDoublingBits;

}  // namespace

// Below eight nanoseconds a bucket each; above, the exponent and the three bits behind the leading one.
int RecentDurations::BucketOf(Duration duration) {
  const auto value = static_cast<uint64_t>(std::max<int64_t>(duration.count(), 0));
  if (value < kPerDoubling) return static_cast<int>(value);
  const int shift = std::bit_width(value) - 1 - kPerDoublingBits;
  return static_cast<int>((static_cast<uint64_t>(shift) + 1) * kPerDoubling +
                          ((value >> shift) & (kPerDoubling - 1)));
}

Duration RecentDurations::UpperBound(int bucket) {
  const auto number = static_cast<uint64_t>(bucket);
  if (number < kPerDoubling) return Duration(bucket);
  const uint64_t shift = number / kPerDoubling - 1;
  return Duration(static_cast<int64_t>(((kPerDoubling + number % kPerDoubling + 1) << shift) - 1));
}

void RecentDurations::Begin(Time now) {
  const int64_t number = now.time_since_epoch() / kSlice;
  present_ = static_cast<size_t>(number % kSlices);
  Slice& slice = slices_[present_];
  if (slice.number != number) slice = {.number = number, .max = {}, .counts = {}};
  present_begin_ = Time(number * kSlice);
  present_end_ = present_begin_ + kSlice;
}

void RecentDurations::Record(Time now, Duration duration) {
  if (now < present_begin_ || now >= present_end_) Begin(now);
  Slice& slice = slices_[present_];
  ++slice.counts[static_cast<size_t>(BucketOf(duration))];
  slice.max = std::max(slice.max, duration);
  ++ever_count_;
  ever_seconds_ += std::chrono::duration<double>(std::max(duration, Duration::zero())).count();
}

DurationSummary RecentDurations::Summary(Time now) const {
  const int64_t newest = now.time_since_epoch() / kSlice;
  std::array<int64_t, kBuckets> counts{};
  DurationSummary summary;
  summary.ever_count = ever_count_;
  summary.ever_seconds = ever_seconds_;
  for (const Slice& slice : slices_) {
    if (slice.number < 0 || slice.number <= newest - kSlices) continue;
    for (size_t i = 0; i < counts.size(); ++i) {
      counts[i] += slice.counts[i];
      summary.count += slice.counts[i];
    }
    summary.max = std::max(summary.max, slice.max);
  }
  const auto percentile = [&](int64_t percent) {
    const int64_t rank = (summary.count * percent + 99) / 100;
    int64_t seen = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      seen += counts[i];
      if (seen >= rank) return std::min(UpperBound(static_cast<int>(i)), summary.max);
    }
    return summary.max;
  };
  if (summary.count == 0) return summary;
  summary.p50 = percentile(50);
  summary.p90 = percentile(90);
  summary.p99 = percentile(99);
  return summary;
}

}  // namespace pglessor::core
