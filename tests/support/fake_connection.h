// A PostgreSQL connection in memory, as obedient or as broken as the test wants it.
//
// Every step, as on a real connection's strand, is a task of the executor: nothing happens inside
// the call that asks for it. It watches over its holders: a statement of a newer lease on a session
// that an older one left unclean fails the test.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "server/core/connection.h"
#include "server/core/executor.h"
#include "server/core/mutex.h"
#include "server/core/statement.h"

namespace pglessor::test {

// Threads: every member may be called from any thread.
class FakeConnection : public core::Connection, public std::enable_shared_from_this<FakeConnection> {
 public:
  // `gone` is told when the backend has gone.
  FakeConnection(core::Executor& executor, int32_t backend_pid, Callback lost, Callback gone);

  int32_t backend_pid() const override { return backend_pid_; }
  bool lost() const override { return lost_.load(); }
  void Execute(core::StatementKey key, core::Statement statement,
               std::shared_ptr<core::StatementSink> sink) override;
  void Cancel(core::StatementKey key) override;
  void ResumeRows(core::StatementKey key) override;
  void Clean(core::LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced,
             absl::AnyInvocable<void(CleanReport)> cleaned) override;
  void Fence(core::LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced) override;
  void Probe(absl::AnyInvocable<void(CleanReport)> probed) override;
  void Cut() override;
  void Close(CloseCallbacks callbacks) override;

  // --- what the test does to it ---
  // The backend dies: lost() at once, the news of it and a running statement's end when the
  // executor runs.
  void Die();
  // From now on a statement runs until FinishStatement, its cancel, its fence or the backend's
  // death.
  void HoldStatements();
  void FinishStatement();
  // From now on fences stand, cleanings end and closings are confirmed only when the test says so.
  void HoldFences();
  void ReleaseFences();
  void HoldCleanings();
  void ReleaseCleanings();
  void HoldClosings();
  void ReportStuck();
  void ReleaseClosings();
  // From now on no cleaning succeeds.
  void RefuseToComeClean();
  // From now on probes are answered when the test says so, and fail.
  void HoldProbes();
  void ReleaseProbes();
  void FailProbes();

  // --- what it saw ---
  std::vector<std::string> statements() const;
  int cancels() const;
  int fences() const;
  int cleanings() const;
  int probes() const;
  bool running() const;
  // Nothing of a holder is left in its session.
  bool clean() const;
  bool closing() const;
  bool gone() const;

 private:
  struct Running {
    core::StatementKey key;
    std::string sql;
    std::shared_ptr<core::StatementSink> sink;  // as the port's contract says
  };
  // Steps that wait for the test, or do not.
  struct Gate {
    bool held = false;
    std::vector<core::Executor::Task> waiting;
  };

  void OnStrand(absl::AnyInvocable<void(FakeConnection&)> step);
  void Pass(Gate FakeConnection::*gate, core::Executor::Task step);
  void Hold(Gate FakeConnection::*gate);
  void Release(Gate FakeConnection::*gate);
  void Start(core::StatementKey key, core::Statement statement, std::shared_ptr<core::StatementSink> sink);
  void End(core::StatementEnd::How how, const absl::Status& error);
  FenceReport StandFence(core::LeaseCounter lease);

  core::Executor& executor_;
  const int32_t backend_pid_;
  std::atomic<bool> lost_{false};

  mutable core::Mutex mutex_;
  Callback on_lost_ ABSL_GUARDED_BY(mutex_);
  Callback on_gone_ ABSL_GUARDED_BY(mutex_);
  std::optional<CloseCallbacks> closing_ ABSL_GUARDED_BY(mutex_);
  std::optional<Running> running_ ABSL_GUARDED_BY(mutex_);
  core::LeaseCounter holder_ ABSL_GUARDED_BY(mutex_);  // the last that ran a statement
  core::LeaseCounter fenced_ ABSL_GUARDED_BY(mutex_);  // it and all before it
  bool unclean_ ABSL_GUARDED_BY(mutex_) = false;
  bool in_transaction_ ABSL_GUARDED_BY(mutex_) = false;
  bool statements_held_ ABSL_GUARDED_BY(mutex_) = false;
  bool refuses_to_come_clean_ ABSL_GUARDED_BY(mutex_) = false;
  bool fails_probes_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_gone_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> statements_ ABSL_GUARDED_BY(mutex_);
  int cancels_ ABSL_GUARDED_BY(mutex_) = 0;
  int fences_seen_ ABSL_GUARDED_BY(mutex_) = 0;
  int cleanings_seen_ ABSL_GUARDED_BY(mutex_) = 0;
  int probes_seen_ ABSL_GUARDED_BY(mutex_) = 0;
  Gate fence_gate_ ABSL_GUARDED_BY(mutex_);
  Gate probe_gate_ ABSL_GUARDED_BY(mutex_);
  Gate clean_gate_ ABSL_GUARDED_BY(mutex_);
  Gate close_gate_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pglessor::test
