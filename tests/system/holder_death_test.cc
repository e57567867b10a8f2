// A holder that is killed: its lease ends by its ttl, its transaction was never committed, and the next
// holder finds nothing of it.
#include <chrono>
#include <csignal>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/process.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kTtl(2000);
constexpr milliseconds kGrace(1500);

// What it did when it was killed: see holder_main.cc.
struct Deed {
  const char* kind;
  const char* running = nullptr;  // something of its statement; null = none, or it sleeps
  bool sleeps = false;
  bool cleaned = true;  // its connection is lent again, and not replaced
};

class HolderDeathTest : public SystemTest, public testing::WithParamInterface<Deed> {};

class VanishedPeerTest : public SystemTest {};

INSTANTIATE_TEST_SUITE_P(Holder, HolderDeathTest,
                         testing::Values(Deed{"idle"}, Deed{"transaction"},
                                         Deed{.kind = "statement", .sleeps = true},
                                         Deed{.kind = "swallower", .sleeps = true, .cleaned = false},
                                         Deed{.kind = "reader", .running = "generate_series"}),
                         [](const auto& deed) { return std::string(deed.param.kind); });

TEST_P(HolderDeathTest, ItsPlaceIsFreeByTtlAndNothingOfItIsLeft) {
  Serve(1, 1);
  database().MakeTable("deeds", "deed text");
  Process holder({PGLESSOR_HOLDER, {server().address(), std::to_string(kTtl.count()), GetParam().kind}});
  std::istringstream line(holder.FirstLine().value_or(""));
  int64_t granted = 0;
  int backend = 0;
  ASSERT_TRUE(line >> granted >> backend) << holder.Log();
  const auto waiter = StartAcquire(client());
  if (GetParam().sleeps) {
    ASSERT_TRUE(observer().AwaitAsleep(backend));
  } else if (GetParam().running != nullptr) {
    ASSERT_TRUE(observer().AwaitRunning(backend, GetParam().running));
  }
  holder.Signal(SIGKILL);
  EXPECT_EQ(holder.AwaitEnd(), -SIGKILL);

  const Answer<v1::AcquireResponse> next = waiter->Get();
  ASSERT_THAT(next, IsOk());
  // It has never renewed: its ttl runs from its grant. Both times are the server's.
  const nanoseconds until = Nanoseconds(next.response.lease().acquire_time()) - nanoseconds(granted);
  EXPECT_GE(until, kTtl);
  EXPECT_LE(until, kTtl + kGrace);

  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
  const std::string& token = next.response.lease_token();
  const std::pair<const char*, const char*> clean[] = {
      {"SELECT to_regclass('pg_temp.remains') IS NULL", "bool_value: true"},
      {"SELECT current_setting('work_mem') <> '77MB'", "bool_value: true"},
      {"SELECT current_setting('search_path') <> 'pg_catalog'", "bool_value: true"},
      {"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "int_value: 0"},
  };
  for (const auto& [sql, value] : clean) {
    const Result found = client().Execute(token, sql);
    EXPECT_EQ(found.Value(), value) << sql;
    EXPECT_FALSE(found.summary.in_transaction());
  }
  EXPECT_EQ(next.response.lease().backend_pid() == backend, GetParam().cleaned);
  EXPECT_EQ(client().Stats().counters().connections_closed(), GetParam().cleaned ? 0 : 1);
  EXPECT_EQ(client().Stats().counters().expired(), 1);
}

// It answers no ping any more, though its end of the connection is open and takes what is sent: as behind a
// network that is gone. The lease of a stream renews itself, so that nothing else would ever end it.
TEST_F(VanishedPeerTest, IsFoundByItsMissingPingsAndItsLeaseEnds) {
  Serve(1, 1);
  database().MakeTable("deeds", "deed text");
  Process holder({PGLESSOR_HOLDER, {server().address(), "0", "session"}});
  ASSERT_TRUE(holder.FirstLine().has_value()) << holder.Log();
  ASSERT_TRUE(holder.Freeze());
  const auto waiter = StartAcquire(client());
  const Answer<v1::AcquireResponse> next = waiter->Get();
  EXPECT_THAT(next, IsOk());
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
  EXPECT_EQ(client().Stats().counters().released(), 1);
}

}  // namespace
}  // namespace pglessor::system
