#include "server/core/faulty_connector.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/check.h"

namespace pglessor::core {
namespace {

absl::Status Injected(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("fault injection: ", what));
}

}  // namespace

void FaultyConnector::Open(const OpenRequest& request, Opened opened, Connection::Callback lost) {
  if (faults_.Strike(FaultKind::kOpenFails)) {
    executor_.Post([opened = std::move(opened)]() mutable { opened(Injected("the opening fails")); });
    return;
  }
  const std::optional<Fault> hangs = faults_.Strike(FaultKind::kOpenHangs);
  if (!hangs) {
    PassOn(request, std::move(opened), std::move(lost));
    return;
  }
  const Duration timeout = request.timeout;
  const Duration delay = hangs->delay.value_or(timeout);
  if (delay >= timeout) {
    executor_.PostAt(SaturatingAdd(clock_.Now(), timeout), [opened = std::move(opened)]() mutable {
      opened(Injected("the opening hung until it timed out"));
    });
    return;
  }
  executor_.PostAt(SaturatingAdd(clock_.Now(), delay),
                   [this, left = OpenRequest{timeout - delay, request.role}, opened = std::move(opened),
                    lost = std::move(lost)]() mutable { PassOn(left, std::move(opened), std::move(lost)); });
}

void FaultyConnector::PassOn(const OpenRequest& request, Opened opened, Connection::Callback lost) {
  connector_.Open(
      request,
      [this, opened = std::move(opened)](absl::StatusOr<std::shared_ptr<Connection>> connection) mutable {
        if (!connection.ok()) {
          opened(connection.status());
          return;
        }
        opened(std::make_shared<FaultyConnection>(*std::move(connection), faults_, clock_, executor_));
      },
      std::move(lost));
}

void FaultyConnection::Execute(StatementKey key, Statement statement, std::shared_ptr<StatementSink> sink) {
  const bool cut = faults_.Strike(FaultKind::kConnectionCut).has_value();
  Held passing{key, std::move(statement), std::move(sink), cut};
  const std::optional<Fault> delayed = faults_.Strike(FaultKind::kStatementDelayed);
  if (!delayed || !Hold(passing)) {
    PassOn(std::move(passing));
    return;
  }
  executor_.PostAt(SaturatingAdd(clock_.Now(), delayed->delay.value_or(Duration::zero())),
                   [self = shared_from_this(), key] {
                     if (std::optional<Held> held = self->Take(key)) self->PassOn(*std::move(held));
                   });
}

bool FaultyConnection::Hold(Held& statement) {
  const MutexLock lock(mutex_);
  // One that comes too late is refused behind us, at once: its connection may have the next holder already.
  if (statement.key.lease <= fenced_) return false;
  PGLESSOR_CHECK(!held_, "a connection runs one statement at a time");
  held_ = std::move(statement);
  return true;
}

void FaultyConnection::PassOn(Held statement) {
  if (!statement.cut) {
    connection_->Execute(statement.key, std::move(statement.statement), std::move(statement.sink));
    return;
  }
  // From the strand, so that nothing, the answer least of all, comes between the two.
  executor_.Post([self = shared_from_this(), statement = std::move(statement)]() mutable {
    self->connection_->Execute(statement.key, std::move(statement.statement), std::move(statement.sink));
    self->connection_->Cut();
  });
}

std::optional<FaultyConnection::Held> FaultyConnection::Take(StatementKey key) {
  const MutexLock lock(mutex_);
  if (!held_ || held_->key != key) return std::nullopt;
  return std::exchange(held_, std::nullopt);
}

void FaultyConnection::Cancel(StatementKey key) {
  // Sent after all, so that it ends as any other that is cancelled.
  if (std::optional<Held> held = Take(key)) PassOn(*std::move(held));
  connection_->Cancel(key);
}

void FaultyConnection::RaiseFence(LeaseCounter lease) {
  std::optional<Held> ended;
  {
    const MutexLock lock(mutex_);
    fenced_ = std::max(fenced_, lease);
    if (held_ && held_->key.lease <= lease) ended = std::exchange(held_, std::nullopt);
  }
  if (!ended) return;
  executor_.Post([sink = std::move(ended->sink)] {
    StatementEnd end;
    end.how = StatementEnd::How::kFenced;
    sink->OnEnd(std::move(end));
  });
}

void FaultyConnection::Clean(LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced,
                             absl::AnyInvocable<void(CleanReport)> cleaned) {
  RaiseFence(lease);
  connection_->Clean(lease, std::move(fenced), std::move(cleaned));
}

void FaultyConnection::Fence(LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced) {
  RaiseFence(lease);
  connection_->Fence(lease, std::move(fenced));
}

void FaultyConnection::Probe(absl::AnyInvocable<void(CleanReport)> probed) {
  if (!faults_.Strike(FaultKind::kValidationFails)) {
    connection_->Probe(std::move(probed));
    return;
  }
  executor_.Post([probed = std::move(probed)]() mutable { probed(Injected("the probe fails")); });
}

}  // namespace pglessor::core
