// Connections that grow old or idle: over gRPC and on a real PostgreSQL, with times shorter than anybody
// would configure, and so with the server's parts put together here.
#include <chrono>
#include <optional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/freeze.h"
#include "tests/system/support/client.h"
#include "tests/system/support/database.h"
#include "tests/system/support/eventually.h"
#include "tests/system/support/service.h"

namespace pglessor::system {
namespace {

using namespace std::chrono_literals;

std::string PidOf(Client& client, const std::string& token) {
  return client.Execute(token, "SELECT pg_backend_pid()").Value();
}

TEST(UpkeepTest, AConnectionOlderThanItsLifetimeIsNeverHandedOut) {
  constexpr auto kLifetime = 1s;
  Service service({.min_connections = 2, .max_connections = 3, .max_lifetime = kLifetime});
  Client client(service.address());
  const auto until = std::chrono::steady_clock::now() + 3 * kLifetime;
  while (std::chrono::steady_clock::now() < until) {
    const auto held = client.Acquire(AcquireFor(10s));
    ASSERT_THAT(held, IsOk());
    // By PostgreSQL's own account, in which it begins a moment before it is open.
    const auto started =
        client.Execute(held.response.lease_token(),
                       "SELECT (extract(epoch FROM backend_start) * 1000000)::int8 FROM pg_stat_activity "
                       "WHERE pid = pg_backend_pid()");
    ASSERT_THAT(started, IsOk());
    const std::chrono::microseconds start(started.rows.at(0).values(0).int_value());
    EXPECT_LT(Nanoseconds(held.response.lease().acquire_time()) - start, kLifetime + 500ms);
    EXPECT_THAT(client.Release(held.response.lease_token()), IsOk());
  }
  EXPECT_GE(client.Stats().counters().connections_opened(), 4);
}

TEST(UpkeepTest, ProbesBeforeItLendsWhatIdled) {
  Service service({.min_connections = 1, .max_connections = 1, .validate_after = 0ms});
  Client client(service.address());
  const auto held = client.Acquire();
  ASSERT_THAT(held, IsOk());
  EXPECT_THAT(client.Execute(held.response.lease_token(), "SELECT 1"), IsOk());
  const v1::PoolStats stats = client.Stats();
  EXPECT_EQ(stats.counters().validations(), 1);
  EXPECT_EQ(stats.counters().validation_failures(), 0);
}

// At once after the backend's end, when the news of it may still be on its way.
TEST(UpkeepTest, AProbeFindsWhatHasJustDied) {
  Service service({.min_connections = 1, .max_connections = 2, .validate_after = 0ms});
  Client client(service.address());
  for (int round = 0; round < 10; ++round) {
    ASSERT_TRUE(Eventually([&] { return client.Stats().available() == 1; }));
    const int32_t pid = client.Stats().connections(0).backend_pid();
    Database::Get().observer().Terminate(pid);
    ASSERT_TRUE(Database::Get().observer().AwaitGone(pid));
    const auto held = client.Acquire();
    ASSERT_THAT(held, IsOk());
    EXPECT_THAT(client.Execute(held.response.lease_token(), "SELECT 1"), IsOk());
    EXPECT_THAT(client.Release(held.response.lease_token()), IsOk());
  }
}

// A backend that hangs: the socket is fine, and no answer comes.
TEST(UpkeepTest, ReplacesWhatDoesNotAnswerItsProbe) {
  Service service({.min_connections = 1, .max_connections = 2, .validate_after = 0ms});
  Client client(service.address());
  const int32_t pid = client.Stats().connections(0).backend_pid();
  ASSERT_EQ(Database::Get().observer().Activity(pid, "usename"), "app");
  ASSERT_TRUE(test::Freeze(pid));
  const auto held = client.Acquire();
  kill(pid, SIGCONT);
  ASSERT_THAT(held, IsOk());
  EXPECT_NE(held.response.lease().backend_pid(), pid);
  EXPECT_EQ(client.Stats().counters().validation_failures(), 1);
}

TEST(UpkeepTest, ClosesWhatNobodyNeedsDownToTheMinimum) {
  Service service({.min_connections = 1, .max_connections = 3, .idle_timeout = 200ms});
  Client client(service.address());
  std::vector<std::string> tokens;
  for (int i = 0; i < 3; ++i) {
    const auto held = client.Acquire();
    ASSERT_THAT(held, IsOk());
    tokens.push_back(held.response.lease_token());
    EXPECT_NE(PidOf(client, tokens.back()), "");
  }
  for (const std::string& token : tokens) EXPECT_THAT(client.Release(token), IsOk());
  EXPECT_TRUE(Eventually([&] { return client.Stats().total() == 1; }));
  EXPECT_EQ(client.Stats().available(), 1);
}

TEST(UpkeepTest, KeepsIdleConnectionsAlive) {
  Service service({.min_connections = 2, .max_connections = 2, .keepalive = 200ms});
  Client client(service.address());
  EXPECT_TRUE(Eventually([&] { return client.Stats().counters().validations() >= 4; }));
  EXPECT_EQ(client.Stats().counters().validation_failures(), 0);
}

}  // namespace
}  // namespace pglessor::system
