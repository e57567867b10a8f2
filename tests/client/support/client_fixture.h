// What the client's tests on a real server start from: pglessor, the client under test, and beside it the
// raw caller and the observer of the system's tests.
//
// A test's leases end before its client does, and that before the server.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "pglessor/client.h"
#include "pglessor/error.h"
#include "tests/system/support/system_test.h"

namespace pglessor {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& value) {
  return value.status();
}

MATCHER(IsOk, negation ? "is an error" : "is OK") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).ok();
}

MATCHER_P2(FailsWith, code, reason,
           "fails with " + absl::StatusCodeToString(code) + ", reason \"" + reason + "\"") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code && ErrorReason(StatusOf(arg)) == reason;
}

class ClientFixture : public system::SystemTest {
 protected:
  void SetUp() override { Start(1, 1); }

  void TearDown() override {
    client_under_test_.reset();
    system::SystemTest::TearDown();
  }

  void Start(int min_connections, int max_connections) {
    Serve(min_connections, max_connections);
    Connect();
  }

  // Replaces the client.
  void Connect() {
    absl::StatusOr<Client> client = Client::Create({.address = server().address()});
    ASSERT_THAT(client, IsOk());
    client_under_test_.emplace(*std::move(client));
  }

  Client& lessor() { return *client_under_test_; }

  // A lease, which must be had.
  Lease AcquireFor(std::chrono::nanoseconds ttl) {
    absl::StatusOr<Lease> lease = lessor().Acquire({.holder = "client test", .ttl = ttl});
    EXPECT_THAT(lease, IsOk());
    return *std::move(lease);
  }
  Lease Acquire() { return AcquireFor(std::chrono::seconds(30)); }

  std::optional<Client> client_under_test_;
};

}  // namespace pglessor
