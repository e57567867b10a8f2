#include "tests/support/fake_connection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

#include "server/core/check.h"
#include "server/core/error.h"

namespace pglessor::test {

using How = core::StatementEnd::How;

FakeConnection::FakeConnection(core::Executor& executor, int32_t backend_pid, Callback lost, Callback gone)
    : executor_(executor), backend_pid_(backend_pid), on_lost_(std::move(lost)), on_gone_(std::move(gone)) {}

void FakeConnection::OnStrand(absl::AnyInvocable<void(FakeConnection&)> step) {
  executor_.Post([self = shared_from_this(), step = std::move(step)]() mutable { step(*self); });
}

void FakeConnection::Execute(core::StatementKey key, core::Statement statement,
                             std::shared_ptr<core::StatementSink> sink) {
  OnStrand([key, statement = std::move(statement), sink = std::move(sink)](FakeConnection& self) mutable {
    self.Start(key, std::move(statement), std::move(sink));
  });
}

void FakeConnection::Start(core::StatementKey key, core::Statement statement,
                           std::shared_ptr<core::StatementSink> sink) {
  core::StatementEnd refused;
  bool sent = false;
  bool held = false;
  {
    const core::MutexLock lock(mutex_);
    if (lost_.load()) {
      refused.how = How::kConnectionLost;
    } else if (key.lease <= fenced_) {
      refused.how = How::kFenced;
    } else {
      sent = true;
      EXPECT_FALSE(running_.has_value()) << "two statements at once on backend " << backend_pid_;
      EXPECT_LE(holder_, key.lease) << "an older lease's statement behind a newer one's";
      EXPECT_FALSE(unclean_ && holder_ != key.lease)
          << "lease " << key.lease.value << " found the session of lease " << holder_.value;
      EXPECT_FALSE(closing_.has_value()) << "a statement on a connection that is being closed";
      holder_ = key.lease;
      unclean_ = true;
      statements_.push_back(statement.sql);
      running_.emplace(Running{key, std::move(statement.sql), std::move(sink)});
      held = statements_held_;
    }
  }
  if (!sent) {
    sink->OnEnd(std::move(refused));  // NOLINT(bugprone-use-after-move): moved only where it is sent
  } else if (!held) {
    FinishStatement();
  }
}

// Ends the running statement, if there is one.
void FakeConnection::End(How how, const absl::Status& error) {
  std::optional<Running> ended;
  core::StatementEnd end;
  {
    const core::MutexLock lock(mutex_);
    ended.swap(running_);
    if (!ended) return;
    end.was_in_transaction = in_transaction_;
    if (how == How::kDone && absl::StartsWith(ended->sql, "BEGIN")) in_transaction_ = true;
    if (how == How::kDone && absl::StartsWith(ended->sql, "COMMIT")) in_transaction_ = false;
    end.in_transaction = in_transaction_;
  }
  end.how = how;
  end.error = error;
  end.sent = true;
  end.command_tag = how == How::kDone ? "OK" : "";
  ended->sink->OnEnd(std::move(end));
}

void FakeConnection::FinishStatement() {
  OnStrand([](FakeConnection& self) { self.End(How::kDone, absl::OkStatus()); });
}

void FakeConnection::Cancel(core::StatementKey key) {
  OnStrand([key](FakeConnection& self) {
    {
      const core::MutexLock lock(self.mutex_);
      if (!self.running_ || !(self.running_->key == key)) return;
      ++self.cancels_;
    }
    self.End(How::kFailed,
             core::MakeError(absl::StatusCode::kCancelled, "canceling statement due to user request",
                             {.reason = core::reason::kSqlError, .metadata = {{"sqlstate", "57014"}}}));
  });
}

void FakeConnection::ResumeRows(core::StatementKey) {}

core::Connection::FenceReport FakeConnection::StandFence(core::LeaseCounter lease) {
  bool open = false;
  {
    const core::MutexLock lock(mutex_);
    ++fences_seen_;
    fenced_ = std::max(fenced_, lease);
    open = in_transaction_;
  }
  End(lost_.load() ? How::kConnectionLost : How::kFenced, absl::OkStatus());
  return {open};
}

void FakeConnection::Fence(core::LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced) {
  OnStrand([lease, fenced = std::move(fenced)](FakeConnection& self) mutable {
    self.Pass(&FakeConnection::fence_gate_,
              [&self, lease, fenced = std::move(fenced)]() mutable { fenced(self.StandFence(lease)); });
  });
}

void FakeConnection::Clean(core::LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced,
                           absl::AnyInvocable<void(CleanReport)> cleaned) {
  OnStrand([lease, fenced = std::move(fenced), cleaned = std::move(cleaned)](FakeConnection& self) mutable {
    self.Pass(&FakeConnection::fence_gate_,
              [&self, lease, fenced = std::move(fenced), cleaned = std::move(cleaned)]() mutable {
                fenced(self.StandFence(lease));
                self.OnStrand([cleaned = std::move(cleaned)](FakeConnection& me) mutable {
                  me.Pass(&FakeConnection::clean_gate_, [&me, cleaned = std::move(cleaned)]() mutable {
                    CleanReport report;
                    {
                      const core::MutexLock lock(me.mutex_);
                      ++me.cleanings_seen_;
                      if (me.lost_.load() || me.refuses_to_come_clean_) {
                        report = absl::UnavailableError("it did not come clean");
                      } else {
                        me.unclean_ = false;
                        me.in_transaction_ = false;
                      }
                    }
                    cleaned(std::move(report));
                  });
                });
              });
  });
}

void FakeConnection::Probe(absl::AnyInvocable<void(CleanReport)> probed) {
  OnStrand([probed = std::move(probed)](FakeConnection& self) mutable {
    self.Pass(&FakeConnection::probe_gate_, [&self, probed = std::move(probed)]() mutable {
      CleanReport report;
      {
        const core::MutexLock lock(self.mutex_);
        EXPECT_FALSE(self.running_.has_value()) << "a probe beside a statement";
        ++self.probes_seen_;
        if (self.lost_.load() || self.fails_probes_) report = absl::UnavailableError("no answer to a probe");
      }
      probed(std::move(report));
    });
  });
}

void FakeConnection::Cut() {
  OnStrand([](FakeConnection& self) {
    self.lost_.store(true);
    self.End(How::kConnectionLost, absl::OkStatus());
    self.Die();
  });
}

void FakeConnection::Close(CloseCallbacks callbacks) {
  {
    const core::MutexLock lock(mutex_);
    PGLESSOR_CHECK(!closing_, "a connection is closed once");
    closing_.emplace(std::move(callbacks));
  }
  OnStrand([](FakeConnection& self) {
    self.Pass(&FakeConnection::close_gate_, [&self] {
      Callback tell_pool;
      Callback tell_connector;
      {
        const core::MutexLock lock(self.mutex_);
        tell_pool = std::move(self.closing_->gone);
        tell_connector = std::move(self.on_gone_);
        self.is_gone_ = true;
      }
      tell_connector();  // first: a pool that hears of it may open the next at once
      tell_pool();
    });
  });
}

void FakeConnection::Die() {
  lost_.store(true);
  OnStrand([](FakeConnection& self) {
    self.End(How::kConnectionLost, absl::OkStatus());
    Callback tell;
    {
      const core::MutexLock lock(self.mutex_);
      if (!self.closing_) tell = std::move(self.on_lost_);
    }
    if (tell) tell();
  });
}

// --- gates ---------------------------------------------------------------------------------------

void FakeConnection::Pass(Gate FakeConnection::*gate, core::Executor::Task step) {
  {
    const core::MutexLock lock(mutex_);
    if ((this->*gate).held) {
      (this->*gate).waiting.push_back(std::move(step));
      return;
    }
  }
  step();
}

void FakeConnection::Hold(Gate FakeConnection::*gate) {
  const core::MutexLock lock(mutex_);
  (this->*gate).held = true;
}

void FakeConnection::Release(Gate FakeConnection::*gate) {
  std::vector<core::Executor::Task> waiting;
  {
    const core::MutexLock lock(mutex_);
    (this->*gate).held = false;
    waiting = std::move((this->*gate).waiting);
  }
  for (core::Executor::Task& step : waiting) {
    OnStrand([step = std::move(step)](FakeConnection&) mutable { step(); });
  }
}

void FakeConnection::HoldFences() { Hold(&FakeConnection::fence_gate_); }
void FakeConnection::ReleaseFences() { Release(&FakeConnection::fence_gate_); }
void FakeConnection::HoldCleanings() { Hold(&FakeConnection::clean_gate_); }
void FakeConnection::ReleaseCleanings() { Release(&FakeConnection::clean_gate_); }
void FakeConnection::HoldClosings() { Hold(&FakeConnection::close_gate_); }
void FakeConnection::ReleaseClosings() { Release(&FakeConnection::close_gate_); }

void FakeConnection::HoldProbes() { Hold(&FakeConnection::probe_gate_); }
void FakeConnection::ReleaseProbes() { Release(&FakeConnection::probe_gate_); }
void FakeConnection::FailProbes() {
  const core::MutexLock lock(mutex_);
  fails_probes_ = true;
}

void FakeConnection::ReportStuck() {
  OnStrand([](FakeConnection& self) {
    Callback stuck;
    {
      const core::MutexLock lock(self.mutex_);
      PGLESSOR_CHECK(self.closing_ && !self.is_gone_, "only a closing gets stuck");
      stuck = std::move(self.closing_->stuck);
    }
    stuck();
  });
}

void FakeConnection::HoldStatements() {
  const core::MutexLock lock(mutex_);
  statements_held_ = true;
}

void FakeConnection::RefuseToComeClean() {
  const core::MutexLock lock(mutex_);
  refuses_to_come_clean_ = true;
}

// --- what it saw ---------------------------------------------------------------------------------

std::vector<std::string> FakeConnection::statements() const {
  const core::MutexLock lock(mutex_);
  return statements_;
}

int FakeConnection::cancels() const {
  const core::MutexLock lock(mutex_);
  return cancels_;
}

int FakeConnection::fences() const {
  const core::MutexLock lock(mutex_);
  return fences_seen_;
}

int FakeConnection::cleanings() const {
  const core::MutexLock lock(mutex_);
  return cleanings_seen_;
}

int FakeConnection::probes() const {
  const core::MutexLock lock(mutex_);
  return probes_seen_;
}

bool FakeConnection::running() const {
  const core::MutexLock lock(mutex_);
  return running_.has_value();
}

bool FakeConnection::clean() const {
  const core::MutexLock lock(mutex_);
  return !unclean_;
}

bool FakeConnection::closing() const {
  const core::MutexLock lock(mutex_);
  return closing_.has_value();
}

bool FakeConnection::gone() const {
  const core::MutexLock lock(mutex_);
  return is_gone_;
}

}  // namespace pglessor::test
