// Opens fake connections, fails to, or hangs; and counts what PostgreSQL would count.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "server/core/connection.h"
#include "server/core/executor.h"
#include "server/core/mutex.h"
#include "tests/support/fake_connection.h"

namespace pglessor::test {

// An opening succeeds when the executor runs, unless the test wants otherwise.
// Threads: every member may be called from any thread.
class FakeConnector : public core::Connector {
 public:
  explicit FakeConnector(core::Executor& executor) : executor_(executor) {}

  void Open(const OpenRequest& request, Opened opened, core::Connection::Callback lost) override;

  // From now on openings hang until the test ends each, oldest first.
  void HoldOpens();
  void CompleteOpen();
  void FailOpen(const absl::Status& why);
  // From now on openings fail with `why`, or with OK succeed again.
  void FailOpens(absl::Status why);

  int opens_asked() const;
  // The roles that they were to log in as, in order.
  std::vector<std::string> roles_asked() const;
  // How many hang.
  int opening() const;
  // Backends that PostgreSQL counts, with those on their way; now, and at most ever.
  int backends() const;
  int peak() const;
  // All that were ever opened, oldest first.
  std::vector<std::shared_ptr<FakeConnection>> connections() const;
  // Requires: there was one of that pid.
  std::shared_ptr<FakeConnection> WithPid(int32_t pid) const;

 private:
  struct Opening {
    Opened opened;
    core::Connection::Callback lost;
  };

  void Finish(Opening opening, const absl::Status& status);
  Opening TakeHeld();

  core::Executor& executor_;
  mutable core::Mutex mutex_;
  std::deque<Opening> held_ ABSL_GUARDED_BY(mutex_);
  bool holding_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  int opens_asked_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::string> roles_asked_ ABSL_GUARDED_BY(mutex_);
  int backends_ ABSL_GUARDED_BY(mutex_) = 0;
  int peak_ ABSL_GUARDED_BY(mutex_) = 0;
  // Shared with the pool; kept so that a test can look at what has been closed.
  std::vector<std::shared_ptr<FakeConnection>> connections_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pglessor::test
