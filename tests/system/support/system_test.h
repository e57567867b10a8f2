// What the system's tests start from: pglessor on the executable's PostgreSQL, a caller, an observer.
#pragma once

#include <memory>
#include <string>

#include "gtest/gtest.h"

#include "tests/system/support/client.h"
#include "tests/system/support/database.h"
#include "tests/system/support/eventually.h"
#include "tests/system/support/outcome.h"
#include "tests/system/support/server_process.h"

namespace pglessor::system {

class SystemTest : public testing::Test {
 protected:
  // At the end of a test pglessor is told to drain: it must end well, and leave nothing in PostgreSQL.
  void TearDown() override;

  // Starts pglessor, with a pool of these sizes. Leases that a test leaves do not delay its end.
  void Serve(int min_connections, int max_connections, Flags flags = {"--drain-timeout=0s"});

  Database& database() { return Database::Get(); }
  // The PostgreSQL that pglessor leases: database(), unless a test has one of its own.
  virtual Observer& observer() { return Database::Get().observer(); }
  virtual std::string dsn() { return Database::Get().dsn(); }
  virtual std::string control_dsn() { return Database::Get().control_dsn(); }
  ServerProcess& server() { return *server_; }
  Client& client() { return *client_; }

  struct Held {
    std::string token;
    v1::Lease lease;
  };
  // A lease, which must be had.
  Held Acquire(const v1::AcquireRequest& request = {});
  // The pool is as it was at the start: its minimum, idle.
  bool AwaitRest();

  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client> client_;
};

}  // namespace pglessor::system
