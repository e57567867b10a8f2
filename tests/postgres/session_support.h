// The real connections on an event loop's thread, against an embedded PostgreSQL: no gRPC, no pool.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"

#include "server/core/connection.h"
#include "server/executor/boot_clock.h"
#include "server/executor/event_loop.h"
#include "server/postgres/connector.h"
#include "server/postgres/control_connection.h"
#include "server/postgres/embedded_server.h"
#include "tests/postgres/embedded_support.h"
#include "tests/support/answer.h"
#include "tests/support/recording_sink.h"

namespace pglessor::postgres {

// Far more than anything here takes, even on a loaded machine.
inline constexpr std::chrono::seconds kPatience(30);

// One for the whole program, from its first use to its end.
EmbeddedServer& TheServer();

// A process of that server, stopped (SIGSTOP) for as long as this lives. Fails the test if it is not one.
class StoppedBackend {
 public:
  StoppedBackend(const EmbeddedServer& server, pid_t pid);
  ~StoppedBackend() { Continue(); }
  StoppedBackend(const StoppedBackend&) = delete;
  StoppedBackend& operator=(const StoppedBackend&) = delete;

  void Continue();

 private:
  pid_t pid_ = 0;
};

// The event loop's thread and a pool's control connection and connector on it.
class PostgresEdge {
 public:
  explicit PostgresEdge(const EmbeddedServer& server);
  PostgresEdge(const std::string& dsn, const std::string& control_dsn);
  ~PostgresEdge();
  PostgresEdge(const PostgresEdge&) = delete;
  PostgresEdge& operator=(const PostgresEdge&) = delete;

  executor::EventLoop& loop() { return loop_; }
  ControlConnection& control() { return control_; }
  Connector& connector() { return connector_; }

 private:
  executor::BootClock clock_;
  executor::EventLoop loop_{clock_};
  ControlConnection control_;
  Connector connector_;
  std::thread thread_;
};

// A session and the leases that it serves one after another, and the words to talk about it.
class LeasedSession {
 public:
  struct Closing {
    std::atomic<int> gone{0};
    std::atomic<int> stuck{0};
  };

  explicit LeasedSession(PostgresEdge& edge);
  LeasedSession(const LeasedSession&) = delete;
  LeasedSession& operator=(const LeasedSession&) = delete;

  core::Connection& connection() { return *connection_; }
  int32_t pid() const { return connection_->backend_pid(); }
  int losses() const { return *losses_; }

  core::LeaseCounter lease() const { return lease_; }
  // From now on statements are the next lease's.
  void BeginNextLease() { ++lease_.value; }

  using Sink = std::shared_ptr<test::RecordingSink>;
  core::StatementKey NextKey() { return {lease_, {++statement_.value}}; }
  Sink Start(core::StatementKey key, core::Statement statement);
  Sink Start(const std::string& sql);
  // Waits for its end.
  Sink Run(core::Statement statement);
  Sink Run(const std::string& sql);
  // Waits for the end of each, which must be a good one.
  void MustRun(const std::vector<std::string>& statements);
  // Its first value, "NULL", or "ERROR " and the SQLSTATE.
  std::string Value(const std::string& sql);

  // Cleans up after the present lease and begins the next.
  core::Connection::CleanReport Clean();
  // The same, and whether a transaction was open.
  core::Connection::CleanReport Clean(bool& transaction_was_open);
  void Fence();
  std::shared_ptr<Closing> Close();

 private:
  std::shared_ptr<std::atomic<int>> losses_ = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<core::Connection> connection_;
  core::LeaseCounter lease_{1};
  core::StatementId statement_;
};

bool Ended(const LeasedSession::Sink& sink);

// The test's own view of a server: one connection as the superuser, kept open.
class Observer {
 public:
  explicit Observer(const EmbeddedServer& server);
  ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  // The first value of the answer, empty if there is none, or PostgreSQL's error.
  std::string Query(const std::string& sql);
  // "pid/backend_start", by which PostgreSQL knows a backend; empty if there is none.
  std::string Identity(int32_t pid);
  bool Sees(const std::string& identity);
  // What it runs or ran last, as "state: query".
  std::string Activity(int32_t pid);
  // Waits until it is inside pg_sleep.
  bool SeesSleep(int32_t pid);
  int32_t ControlPid();

 private:
  PGconn* const connection_;
};

// With the program's server.
class SessionTest : public testing::Test {
 protected:
  Observer observer_{TheServer()};
  PostgresEdge edge_{TheServer()};
};

inline core::Statement Sql(const std::string& sql, const std::vector<std::string>& parameters = {}) {
  core::Statement statement;
  statement.sql = sql;
  for (const std::string& parameter : parameters) statement.parameters.push_back({parameter});
  return statement;
}

}  // namespace pglessor::postgres
