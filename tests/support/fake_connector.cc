#include "tests/support/fake_connector.h"

#include <algorithm>
#include <utility>

#include "server/core/check.h"

namespace pglessor::test {

void FakeConnector::Open(const OpenRequest& request, Opened opened, core::Connection::Callback lost) {
  Opening opening{std::move(opened), std::move(lost)};
  absl::Status status;
  {
    const core::MutexLock lock(mutex_);
    ++opens_asked_;
    roles_asked_.push_back(request.role);
    peak_ = std::max(peak_, ++backends_);
    if (holding_) {
      held_.push_back(std::move(opening));
      return;
    }
    status = failure_;
  }
  Finish(std::move(opening), status);
}

void FakeConnector::Finish(Opening opening, const absl::Status& status) {
  executor_.Post([this, opening = std::move(opening), status]() mutable {
    std::shared_ptr<FakeConnection> connection;
    {
      const core::MutexLock lock(mutex_);
      if (status.ok()) {
        const auto pid = static_cast<int32_t>(1000 + connections_.size());
        connection = std::make_shared<FakeConnection>(executor_, pid, std::move(opening.lost), [this] {
          const core::MutexLock gone_lock(mutex_);
          --backends_;
        });
        connections_.push_back(connection);
      } else {
        --backends_;
      }
    }
    if (status.ok()) {
      opening.opened(std::shared_ptr<core::Connection>(std::move(connection)));
    } else {
      opening.opened(status);
    }
  });
}

void FakeConnector::HoldOpens() {
  const core::MutexLock lock(mutex_);
  holding_ = true;
}

FakeConnector::Opening FakeConnector::TakeHeld() {
  const core::MutexLock lock(mutex_);
  PGLESSOR_CHECK(!held_.empty(), "the test ends an opening that hangs");
  Opening opening = std::move(held_.front());
  held_.pop_front();
  return opening;
}

void FakeConnector::CompleteOpen() { Finish(TakeHeld(), absl::OkStatus()); }

void FakeConnector::FailOpen(const absl::Status& why) { Finish(TakeHeld(), why); }

void FakeConnector::FailOpens(absl::Status why) {
  const core::MutexLock lock(mutex_);
  failure_ = std::move(why);
}

std::vector<std::string> FakeConnector::roles_asked() const {
  const core::MutexLock lock(mutex_);
  return roles_asked_;
}

int FakeConnector::opens_asked() const {
  const core::MutexLock lock(mutex_);
  return opens_asked_;
}

int FakeConnector::opening() const {
  const core::MutexLock lock(mutex_);
  return static_cast<int>(held_.size());
}

int FakeConnector::backends() const {
  const core::MutexLock lock(mutex_);
  return backends_;
}

int FakeConnector::peak() const {
  const core::MutexLock lock(mutex_);
  return peak_;
}

std::vector<std::shared_ptr<FakeConnection>> FakeConnector::connections() const {
  const core::MutexLock lock(mutex_);
  return connections_;
}

std::shared_ptr<FakeConnection> FakeConnector::WithPid(int32_t pid) const {
  const core::MutexLock lock(mutex_);
  for (const auto& connection : connections_) {
    if (connection->backend_pid() == pid) return connection;
  }
  PGLESSOR_CHECK(false, "the test names a backend that was opened");
}

}  // namespace pglessor::test
