// A connector, and connections, with faults: decorators around the real ones. See fault_injection.h.
#pragma once

#include <memory>
#include <optional>

#include "server/core/connection.h"
#include "server/core/executor.h"
#include "server/core/fault_injection.h"
#include "server/core/mutex.h"

namespace pglessor::core {

// Threads: as Connector's. All that it is given outlives it, and what it opened.
class FaultyConnector : public Connector {
 public:
  FaultyConnector(Connector& connector, Faults& faults, const Clock& clock, Executor& executor)
      : connector_(connector), faults_(faults), clock_(clock), executor_(executor) {}

  void Open(const OpenRequest& request, Opened opened, Connection::Callback lost) override;

 private:
  void PassOn(const OpenRequest& request, Opened opened, Connection::Callback lost);

  Connector& connector_;
  Faults& faults_;
  const Clock& clock_;
  Executor& executor_;
};

// Threads: as Connection's. What it does of its own it does on the executor, which is the strand.
class FaultyConnection : public Connection, public std::enable_shared_from_this<FaultyConnection> {
 public:
  // Shares `connection` with nobody: it is opened for this one.
  FaultyConnection(std::shared_ptr<Connection> connection, Faults& faults, const Clock& clock,
                   Executor& executor)
      : connection_(std::move(connection)), faults_(faults), clock_(clock), executor_(executor) {}

  int32_t backend_pid() const override { return connection_->backend_pid(); }
  bool lost() const override { return connection_->lost(); }
  void Execute(StatementKey key, Statement statement, std::shared_ptr<StatementSink> sink) override;
  void Cancel(StatementKey key) override;
  void ResumeRows(StatementKey key) override { connection_->ResumeRows(key); }
  void Clean(LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced,
             absl::AnyInvocable<void(CleanReport)> cleaned) override;
  void Fence(LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced) override;
  void Probe(absl::AnyInvocable<void(CleanReport)> probed) override;
  void Cut() override { connection_->Cut(); }
  void Close(CloseCallbacks callbacks) override { connection_->Close(std::move(callbacks)); }

 private:
  struct Held {
    StatementKey key;
    Statement statement;
    std::shared_ptr<StatementSink> sink;  // as the port's contract says
    bool cut = false;                     // its connection, once it is sent
  };

  void PassOn(Held statement);
  // Takes it, to be held back; false if its lease was fenced.
  bool Hold(Held& statement);
  // The statement, if it is still held back.
  std::optional<Held> Take(StatementKey key);
  // What the holder of `lease` has held back ends; nothing of his is held back from now on.
  void RaiseFence(LeaseCounter lease);

  const std::shared_ptr<Connection> connection_;
  Faults& faults_;
  const Clock& clock_;
  Executor& executor_;

  Mutex mutex_;
  std::optional<Held> held_ ABSL_GUARDED_BY(mutex_);
  LeaseCounter fenced_ ABSL_GUARDED_BY(mutex_);  // it and all before it
};

}  // namespace pglessor::core
