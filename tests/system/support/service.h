// The server in this process, on a real PostgreSQL: for what no flag says.
//
// Threads: made and ended by one; its RPCs come on their own.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"

#include "server/core/event_history.h"
#include "server/core/lessor.h"
#include "server/core/reaper.h"
#include "server/executor/boot_clock.h"
#include "server/executor/event_loop.h"
#include "server/postgres/connector.h"
#include "server/postgres/control_connection.h"
#include "server/rpc/rpc_server.h"
#include "tests/support/toy_token_key.h"
#include "tests/system/support/database.h"
#include "tests/system/support/eventually.h"

namespace pglessor::system {

class Service {
 public:
  explicit Service(const core::PoolOptions& pool, rpc::RpcOptions rpc = {})
      : rpc_(OnAnyPort(std::move(rpc))) {
    if (const absl::Status listening = rpc_.Listen(); !listening.ok()) throw std::runtime_error("no port");
    lessor_.AddPool(pool, connector_, control_);
    control_.Start();
    reaper_.Start();
    loop_thread_ = std::thread([this] { loop_.Run(); });
    rpc_.Serve({lessor_, clock_, history_, [this](auto) {
                  lessor_.Drain();
                  return rpc::DrainBegun{.deadline = {}, .leases = lessor_.InUse()};
                }});
    EXPECT_TRUE(Eventually([&] { return lessor_.Warm(); }));
  }
  ~Service() {
    lessor_.Drain();
    lessor_.CloseAll();
    EXPECT_TRUE(Eventually([&] { return lessor_.Empty(); }));
    rpc_.Stop(std::chrono::milliseconds(500));
    loop_.Stop();
    loop_thread_.join();
  }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  const std::string& address() const { return rpc_.addresses().front(); }
  rpc::RpcServer& rpc() { return rpc_; }

 private:
  static rpc::RpcOptions OnAnyPort(rpc::RpcOptions options) {
    options.listen = {"127.0.0.1:0"};
    options.reflection = false;
    options.version = "test";
    return options;
  }

  Database& database_ = Database::Get();
  rpc::RpcServer rpc_;
  const executor::BootClock clock_;
  const test::ToyTokenKey key_{};
  core::Events events_;
  core::EventHistory history_{clock_, events_};
  executor::EventLoop loop_{clock_};
  postgres::ControlConnection control_{loop_, {database_.control_dsn(), "pglessor-control"}};
  postgres::Connector connector_{loop_, control_, {database_.dsn(), "pglessor"}};
  core::Lessor lessor_{{.replica = {"test", 1}, .server_address = "", .leases = {}}, clock_, key_, events_};
  core::Reaper reaper_{lessor_, clock_, loop_};
  std::thread loop_thread_;
};

}  // namespace pglessor::system
