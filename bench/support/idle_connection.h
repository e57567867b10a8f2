// PostgreSQL left away: connections that open, come clean, answer probes and close inside the call, so that
// what is measured is the core alone. Nothing here takes time or a lock.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

#include "server/core/check.h"
#include "server/core/connection.h"

namespace pglessor::bench {

class IdleConnection : public core::Connection {
 public:
  explicit IdleConnection(int32_t backend_pid) : backend_pid_(backend_pid) {}

  int32_t backend_pid() const override { return backend_pid_; }
  bool lost() const override { return false; }
  void Execute(core::StatementKey, core::Statement, std::shared_ptr<core::StatementSink>) override {
    PGLESSOR_CHECK(false, "an idle connection runs no statement");
  }
  void Cancel(core::StatementKey) override {}
  void ResumeRows(core::StatementKey) override {}
  void Clean(core::LeaseCounter, absl::AnyInvocable<void(FenceReport)> fenced,
             absl::AnyInvocable<void(CleanReport)> cleaned) override {
    fenced({});
    cleaned(absl::OkStatus());
  }
  void Fence(core::LeaseCounter, absl::AnyInvocable<void(FenceReport)> fenced) override { fenced({}); }
  void Probe(absl::AnyInvocable<void(CleanReport)> probed) override { probed(absl::OkStatus()); }
  void Cut() override {}
  void Close(CloseCallbacks callbacks) override { callbacks.gone(); }

 private:
  const int32_t backend_pid_;
};

class IdleConnector : public core::Connector {
 public:
  void Open(const OpenRequest&, Opened opened, core::Connection::Callback) override {
    opened(std::make_shared<IdleConnection>(++opened_));
  }

 private:
  int32_t opened_ = 0;  // by whoever starts the pool, before there are other threads
};

// One block that no benchmark uses up.
class EndlessFencing : public core::FencingSource {
 public:
  void Subscribe(Taken taken) override { taken({.first = 1, .count = uint64_t{1} << 60}); }
  void TakeBlock() override {}
};

}  // namespace pglessor::bench
