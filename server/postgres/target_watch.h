// Whether a pool's database is of the kind that the pool wants: it may be a primary now and a standby soon.
//
// It is asked on the control connection, as soon as that is open and every second. While the answer is not
// the one that is wanted, the control connection is opened anew each time, so that a name that leads
// elsewhere by now is looked up again.
//
// Threads: Start and Stop from any; everything else, callbacks too, on the loop. Must not be destroyed while
//   it runs.
#pragma once

#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "server/executor/event_loop.h"
#include "server/postgres/control_connection.h"
#include "server/postgres/target_session.h"

namespace pglessor::postgres {

class TargetWatch {
 public:
  TargetWatch(executor::EventLoop& loop, ControlConnection& control, TargetSession wanted);

  // `turned_wrong`: each time that it was of the right kind and is no longer. With kAny nothing is asked.
  void Start(absl::AnyInvocable<void()> turned_wrong);

  // Nothing is told any more. From any thread.
  void Stop();

  // Whether connections may be opened now.
  // Fails with: UNAVAILABLE, while the kind is not known, or not the one that is wanted.
  absl::Status Check() const;

 private:
  void Ask();
  void OnAnswer(const absl::StatusOr<std::string>& answer);

  executor::EventLoop& loop_;
  ControlConnection& control_;
  const TargetSession wanted_;
  absl::AnyInvocable<void()> turned_wrong_;
  absl::Status verdict_;
};

}  // namespace pglessor::postgres
