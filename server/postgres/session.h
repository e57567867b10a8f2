// A leased connection on the event loop: runs statements, cancels them, cleans up after a holder, closes.
//
//                   Execute                      Clean
//   (idle) ────────────────► statement     ┌──────────────► await quiet: what still runs is cancelled
//     ▲                        │           │                     ▼
//     │  its answer, and those │           │                  ROLLBACK, if a transaction is open
//     │  of all its cancels    │           │                     ▼
//     ├────────────────────────┘           │                  DISCARD ALL
//     │                                    │                     ▼
//     └────────────────────────────────────┴──────────────── verify
//
// A cancel is advisory and may come late: so neither a statement's end is told, nor the connection
// lent again, before every cancel that was asked for has been answered.
//
// Threads: core::Connection's members from any thread; they post to the loop, which is the strand.
// Owns: the backend's connection.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "server/core/connection.h"
#include "server/executor/event_loop.h"
#include "server/postgres/backend.h"
#include "server/postgres/control_connection.h"
#include "server/postgres/statement_cache.h"
#include "server/postgres/validation.h"

namespace pglessor::postgres {

// The statement that runs, from its sending to its OnEnd.
struct RunningStatement {
  core::StatementKey key;
  // Shared with the edge's call, which lives until both have ended.
  std::shared_ptr<core::StatementSink> sink;
  core::StatementEnd end;
  std::optional<core::Statement> named;  // if it went by a name
  core::Time sent_at{};
  int64_t max_rows = 0;
  bool columns_told = false;
  bool needs_gateway = false;
  bool listened = false;
  bool timed_out = false;
  bool cancel_wanted = false;
  bool run_unnamed = false;  // PostgreSQL refused the name and has run nothing: it is sent again without
  bool answered = false;     // ReadyForQuery has come
  std::optional<executor::EventLoop::TimerId> timeout;
};

class Session : public core::Connection,
                public std::enable_shared_from_this<Session>,
                private Backend::Listener {
 public:
  // `lost`: see core::Connector::Open.
  Session(executor::EventLoop& loop, ControlConnection& control, std::unique_ptr<Backend> backend,
          Callback lost, Validation validation = {});

  int32_t backend_pid() const override { return identity_.pid; }
  bool lost() const override { return lost_; }

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

 private:
  // What the backend does when it is not idle.
  enum class Step { kStatement, kUnlisten, kAwaitQuiet, kRollback, kDiscard, kProbe, kGivenUp };

  static constexpr std::array<const char*, 6> kReported = {
      "client_encoding",       "DateStyle", "IntervalStyle", "TimeZone", "standard_conforming_strings",
      "session_authorization",
  };
  using Reported = std::array<std::string, kReported.size()>;

  // On the loop.
  void Start(core::StatementKey key, core::Statement statement, std::shared_ptr<core::StatementSink> sink);
  bool RunUnnamed();
  // Whether a setting by which PostgreSQL reads literals is another than when this was asked last: a function
  // may have changed it.
  bool SettingsMoved();
  void RequestCancel();
  void SendCancel();
  void OnCancelled(const absl::Status& outcome);
  void FinishIfQuiet();
  void FinishStatement(core::StatementEnd::How how);
  FenceReport RaiseFence(core::LeaseCounter lease);
  void CleanUp();
  void CleanNext();
  void Verify();
  absl::Status JudgeProbe(const PGresult& result) const;
  void FinishClean(absl::Status outcome);
  Reported ReportedNow() const;

  void TellColumns(const PGresult& result);
  void TellRow(const PGresult& result);
  absl::string_view Bytes(const char* text);
  void OnStatementResult(const PGresult& result);
  void OnStatementError(const PGresult& error);
  void OnResult(const PGresult& result) override;
  void OnPrepared() override;
  void OnReady() override;
  void OnNotice(const PGresult& notice) override;
  void OnLost(const absl::Status& why) override;

  executor::EventLoop& loop_;
  ControlConnection& control_;
  const Validation validation_;
  const BackendIdentity identity_;
  const Reported reported_at_opening_;
  std::atomic<bool> lost_{false};

  // The loop's own.
  std::unique_ptr<Backend> backend_;  // null once closed
  Callback on_lost_;                  // null once told, or once closing
  std::optional<RunningStatement> running_;
  std::optional<core::LeaseLabel> label_;  // the lease's, until a statement takes it along
  StatementCache names_;
  Reported settings_;
  Step step_ = Step::kStatement;
  core::LeaseCounter fenced_through_;
  int cancels_in_flight_ = 0;
  bool cancel_outcome_unknown_ = false;
  bool half_sent_ = false;  // the old holder's statement stopped in the middle of a message
  absl::AnyInvocable<void(CleanReport)> cleaned_;  // or probed
  absl::Status cleaning_error_;
  std::optional<executor::EventLoop::TimerId> clean_timer_;
  std::vector<core::Field> row_;       // one row's fields, kept to be used again
  std::deque<std::string> row_bytes_;  // those of them that are decoded; references to them stay valid
};

}  // namespace pglessor::postgres
