// The latest events, numbered, for those who watch them as they happen.
//
// It sleeps until the first watch: what nobody ever watched is not gathered (events.h). From then on it keeps
// and numbers events for the rest of the process, so that a watch that broke off can be resumed, whether or
// not anybody watched meanwhile.
//
// A watch has no queue, only its place in the one ring that all share. So memory is bounded however slowly
// it is read, and who emits does the same work for one watch as for a thousand; what was overwritten before
// a watch came to it is counted as missed.
//
// Threads: any, but for the constructor, before anything is emitted, and SetWake, before the first Arm.
// Cost of an event: a copy, and a short lock that nobody holds for longer than a batch of pointers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "server/core/clock.h"
#include "server/core/events.h"
#include "server/core/mutex.h"

namespace pglessor::core {

struct NumberedEvent {
  uint64_t sequence = 0;  // from 1 on, without a gap
  WallTime at{};
  Event event;
};

// Events that match every filter that is set.
struct EventFilter {
  std::string pool;
  std::string tenant;
  std::optional<std::vector<EventType>> types;  // any of them
  // Whether who asks may see that tenant's; null = any, and what has none.
  std::function<bool(absl::string_view tenant)> sees = nullptr;

  bool Matches(const Event& event) const;
};

class EventHistory : public EventSink {
 public:
  // Shared by the ring and by the watches that have come to it and not yet told it.
  using Kept = std::shared_ptr<const NumberedEvent>;

  // How many are kept, and how many a watch takes at a time.
  static constexpr size_t kKept = 4096;
  static constexpr size_t kBatch = 64;

  // Both outlive it, and it outlives what emits.
  EventHistory(const Clock& clock, Events& events);

  // `wake` is called on the thread of an event, or of Close, with no lock held: once for each Arm.
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }
  // At the next event, or at Close. False, and nothing, if it is closed.
  bool Arm();

  // Where a watch begins: behind `after`, or behind what has happened so far if that is 0.
  // Fails with: INVALID_ARGUMENT FIELD_INVALID, if `after` has not happened yet.
  absl::StatusOr<uint64_t> Begin(uint64_t after);
  // From `next` on what is kept, oldest first, at most kBatch; none if nothing has happened since.
  std::vector<Kept> Read(uint64_t next) const;

  // Nothing more will happen that anybody is to be told.
  void Close();
  bool closed() const;

  void OnEvent(const Event& event) override;

 private:
  void CallWakeIf(bool armed) const;

  const Clock& clock_;
  Events& events_;
  std::function<void()> wake_;

  mutable Mutex mutex_;
  std::vector<Kept> ring_ ABSL_GUARDED_BY(mutex_);  // by sequence modulo kKept; empty while it sleeps
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  bool armed_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

// One watch's place in the history. Threads: used by one at a time.
class EventWatch {
 public:
  struct Next {
    EventHistory::Kept event;  // null: there is none yet
    int64_t missed = 0;        // lost between the last one told and this one
  };

  // `next`: from EventHistory::Begin. `history` outlives it.
  EventWatch(const EventHistory& history, EventFilter filter, uint64_t next)
      : history_(history), filter_(std::move(filter)), next_(next) {}

  // The next one that matches.
  Next Take();

 private:
  const EventHistory& history_;
  const EventFilter filter_;
  uint64_t next_;
  int64_t missed_ = 0;
  std::vector<EventHistory::Kept> batch_;
  size_t told_ = 0;  // of batch_
};

}  // namespace pglessor::core
