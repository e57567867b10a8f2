#include "server/core/event_history.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"

namespace pglessor::core {

bool EventFilter::Matches(const Event& event) const {
  return (pool.empty() || event.pool == pool) && (tenant.empty() || event.tenant == tenant) &&
         (!sees || (!event.tenant.empty() && sees(event.tenant))) &&
         (!types || std::find(types->begin(), types->end(), event.type) != types->end());
}

EventHistory::EventHistory(const Clock& clock, Events& events) : clock_(clock), events_(events) {
  events_.AddSleeping(*this);
}

bool EventHistory::Arm() {
  const MutexLock lock(mutex_);
  armed_ = !closed_;
  return armed_;
}

absl::StatusOr<uint64_t> EventHistory::Begin(uint64_t after) {
  uint64_t last = 0;
  {
    const MutexLock lock(mutex_);
    ring_.resize(kKept);
    last = last_;
  }
  events_.WakeSink(*this);
  if (after > last) {
    return FieldInvalid("after_sequence",
                        absl::StrCat("expected the sequence of an event of this process, of "
                                     "which the last is ",
                                     last, "; 0 for what happens from now on"));
  }
  return (after == 0 ? last : after) + 1;
}

std::vector<EventHistory::Kept> EventHistory::Read(uint64_t next) const {
  std::vector<Kept> batch;
  const MutexLock lock(mutex_);
  const uint64_t oldest = last_ < kKept ? 1 : last_ - kKept + 1;
  for (next = std::max(next, oldest); next <= last_ && batch.size() < kBatch; ++next) {
    batch.push_back(ring_[next % kKept]);
  }
  return batch;
}

void EventHistory::Close() {
  bool armed = false;
  {
    const MutexLock lock(mutex_);
    closed_ = true;
    armed = std::exchange(armed_, false);
  }
  CallWakeIf(armed);
}

bool EventHistory::closed() const {
  const MutexLock lock(mutex_);
  return closed_;
}

void EventHistory::OnEvent(const Event& event) {
  auto numbered = std::make_shared<NumberedEvent>(NumberedEvent{0, clock_.WallNow(), event});
  Kept overwritten;  // ends behind the lock
  bool armed = false;
  {
    const MutexLock lock(mutex_);
    numbered->sequence = ++last_;
    overwritten = std::exchange(ring_[last_ % kKept], std::move(numbered));
    armed = std::exchange(armed_, false);
  }
  CallWakeIf(armed);
}

void EventHistory::CallWakeIf(bool armed) const {
  if (armed && wake_) wake_();
}

EventWatch::Next EventWatch::Take() {
  for (;;) {
    while (told_ < batch_.size()) {
      EventHistory::Kept event = std::move(batch_[told_++]);
      if (filter_.Matches(event->event)) return {std::move(event), std::exchange(missed_, 0)};
    }
    batch_ = history_.Read(next_);
    told_ = 0;
    if (batch_.empty()) return {};
    missed_ += static_cast<int64_t>(batch_.front()->sequence - next_);
    next_ = batch_.back()->sequence + 1;
  }
}

}  // namespace pglessor::core
