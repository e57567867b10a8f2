// Our own session to a database: it cancels, terminates, asks who is still there, and takes fencing
// blocks.
//
// It is never leased and stands outside the pool's maximum. It opens itself again, for ever, when
// it is lost; what it was asked meanwhile waits, less what its asker gave a deadline.
//
// Threads: FencingSource's members, Stop and SetDsn from any; everything else on the loop only, callbacks
//   too. Must not be destroyed while the loop runs.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "server/core/connection.h"
#include "server/executor/event_loop.h"
#include "server/postgres/backend.h"
#include "server/postgres/opening.h"

namespace pglessor::postgres {

class ControlConnection : public core::FencingSource, private Backend::Listener {
 public:
  // `outcome` OK: PostgreSQL has answered, so that the signal, if there still was such a backend,
  // has been sent. Otherwise nobody knows whether it was, or will be.
  using Signalled = absl::AnyInvocable<void(const absl::Status& outcome)>;

  ControlConnection(executor::EventLoop& loop, Address address);
  ~ControlConnection() override;

  // Opens it, from the loop.
  void Start();
  // Ends it for good, from any thread. What it was asked, or is from now on, is never answered.
  void Stop();

  // Opens it anew, there. From any thread.
  void SetDsn(std::string dsn);
  // The same where it is: its name may lead elsewhere by now.
  void Reopen();

  // The first column of the last row, empty if there was none; or why it is not known. It waits for the
  // connection.
  using Answered = absl::AnyInvocable<void(const absl::StatusOr<std::string>&)>;
  void Query(std::string sql, Answered answered);

  // Each is guarded: a later backend with the same pid is left alone. An outcome comes within
  // kSignalTimeout.
  void Cancel(const BackendIdentity& backend, Signalled signalled);

  // What AwaitGone does besides asking.
  enum class Means { kAsk, kTerminate };
  // Asks, and with kTerminate terminates, until that backend has gone; then `gone`, once.
  void AwaitGone(const BackendIdentity& backend, Means means, absl::AnyInvocable<void()> gone);

  void Subscribe(Taken taken) override;
  void TakeBlock() override;

 private:
  struct Command {
    std::string sql;
    Answered done;
    core::Time deadline = core::Time::max();
  };

  void Open();
  void Ask(Command command);
  void Next();
  void AskWhoIsThereIn(core::Duration pause);
  void AskWhoIsThere();
  void OnWhoIsThere(size_t asked_about, const absl::StatusOr<std::string>& answer);
  // Whoever takes fencing blocks: each block goes to one, for none comes twice.
  struct Subscriber {
    explicit Subscriber(Taken to) : taken(std::move(to)) {}
    Taken taken;
    bool asked = false;
  };
  void AskForBlocks();
  void AskForBlock(const std::shared_ptr<Subscriber>& subscriber);
  void CheckDeadlines();
  void Drop(const absl::Status& why);

  void OnResult(const PGresult& result) override;
  void OnReady() override;
  void OnNotice(const PGresult&) override {}
  void OnLost(const absl::Status& why) override;

  executor::EventLoop& loop_;
  Address address_;
  std::vector<std::shared_ptr<Subscriber>> subscribers_;  // each shared with what was asked for it

  // Backends that are to go, all asked about at once: a pool that is replaced closes as many as it has.
  struct Awaited {
    BackendIdentity backend;
    Means means = Means::kAsk;
    absl::AnyInvocable<void()> gone;
  };
  std::vector<Awaited> awaited_;
  bool who_is_there_asked_ = false;  // and not answered yet
  core::Duration gone_pause_;        // until they are asked about again
  std::optional<executor::EventLoop::TimerId> gone_timer_;

  bool stopped_ = false;
  std::unique_ptr<Backend> backend_;  // null while it is away
  core::Duration reopen_pause_;
  std::deque<Command> waiting_;
  // The one under way: its deadline, answer and error so far.
  std::unique_ptr<Command> running_;
  core::Time running_since_{};
  std::string answer_;
  absl::Status error_;
};

}  // namespace pglessor::postgres
