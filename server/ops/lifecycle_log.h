// The log's view of what happens: each event as one line, with a sentence, ids, holder, ages and reason.
//
// What a day has a few of is logged at info, what every lease does at debug; below the log's level nothing
// is subscribed to, so that it costs nothing.
#pragma once

#include "server/core/events.h"
#include "server/core/ids.h"
#include "server/ops/log.h"

namespace pglessor::ops {

class LifecycleLog : public core::EventSink {
 public:
  // `log` outlives it. Lease ids are written as `replica`'s.
  LifecycleLog(const Log& log, core::ReplicaId replica) : log_(log), replica_(std::move(replica)) {}

  // Before anything is emitted; `events` must not outlive this.
  void Subscribe(core::Events& events);

  void OnEvent(const core::Event& event) override;

 private:
  const Log& log_;
  const core::ReplicaId replica_;
};

}  // namespace pglessor::ops
