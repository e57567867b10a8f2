// Very many calls at once: each is answered, none is lost, and what is bounded stays so.
#include "tests/system/support/flood.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr int kConnections = 4;

class FloodTest : public SystemTest {
 protected:
  void TearDown() override {
    stubs_.clear();  // an open connection would delay the server's end
    SystemTest::TearDown();
  }

  void Connect() {
    for (int i = 0; i < kConnections; ++i) stubs_.push_back(OnItsOwnConnection(server().address()));
  }
  // Each in its turn.
  v1::LeaseService::Stub& Stub() { return *stubs_[turn_++ % stubs_.size()]; }

  int64_t ServersMemoryInKilobytes() {
    std::ifstream status(absl::StrCat("/proc/", server().process().pid(), "/status"));
    for (std::string line; std::getline(status, line);) {
      if (absl::StartsWith(line, "VmRSS:")) return std::stoll(line.substr(sizeof "VmRSS:"));
    }
    return 0;
  }

 private:
  std::vector<std::unique_ptr<v1::LeaseService::Stub>> stubs_;
  size_t turn_ = 0;
};

TEST_F(FloodTest, TenThousandWaitAndTheNextIsRefused) {
  constexpr int kWaiters = 10'000;
  constexpr int64_t kMostKilobytesForOne = 64;  // gRPC's own share is nearly all of it
  Serve(1, 1);
  Connect();
  const Held held = Acquire();
  const int64_t memory_before = ServersMemoryInKilobytes();
  v1::AcquireRequest request;
  *request.mutable_wait_timeout() = Span(kPatience);
  Flood<v1::AcquireResponse> waiters;
  const auto start = [&] {
    return waiters.Start([&](grpc::ClientContext* context, grpc::CompletionQueue* queue) {
      return Stub().AsyncAcquire(context, request, queue);
    });
  };
  const auto await_waiting = [&](int waiting) {
    return Eventually([&] { return client().Stats().waiting() == waiting; });
  };
  const size_t first = start();
  ASSERT_TRUE(await_waiting(1));
  for (int i = 1; i < kWaiters; ++i) start();
  ASSERT_TRUE(await_waiting(kWaiters));

  const auto refused = client().Acquire(request);
  EXPECT_THAT(refused, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "WAIT_QUEUE_FULL"));
  EXPECT_EQ(refused.Metadata("waiting"), absl::StrCat(kWaiters));
  EXPECT_TRUE(refused.retry_after.has_value());
  EXPECT_THAT(refused.quotas, testing::ElementsAre("pool:default"));
  EXPECT_EQ(client().Execute(held.token, "SELECT 1").Value(), "int_value: 1") << "the holder goes on";
  const int64_t grown = ServersMemoryInKilobytes() - memory_before;
  RecordProperty("kilobytes_for_one", absl::StrCat(grown / kWaiters));
  EXPECT_LT(grown, kWaiters * kMostKilobytesForOne);

  EXPECT_THAT(client().Release(held.token), IsOk());
  const auto served = waiters.Next();
  ASSERT_TRUE(served.has_value());
  EXPECT_EQ(served->number, first);
  ASSERT_THAT(served->answer, IsOk());
  waiters.CancelAll();
  EXPECT_TRUE(await_waiting(0));
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.counters().granted(), 2);
  EXPECT_EQ(stats.counters().cancelled(), kWaiters - 1);
  EXPECT_EQ(stats.counters().rejected(), 1);
  EXPECT_THAT(client().Release(served->answer.response.lease_token()), IsOk());
  EXPECT_TRUE(AwaitRest());
}

// As many as can be had in a second, of a lease that lives, of one that has ended, and of one that is
// released meanwhile.
TEST_F(FloodTest, OfManyRenewalsNoneIsLostAndNoneRevives) {
  constexpr int kAtOnce = 64 * kConnections;
  Serve(3, 3);
  Connect();
  const Held living = Acquire(), ending = Acquire(), ended = Acquire();
  EXPECT_THAT(client().Release(ended.token), IsOk());

  Flood<v1::RenewResponse> renewals;
  const Held* const turns[] = {&living, &ended, &living, &ending};
  const auto lease_of = [&](size_t renewal) { return turns[renewal % 4]; };
  size_t started = 0;
  size_t released_before = std::numeric_limits<size_t>::max();
  const auto start = [&] {
    v1::RenewRequest request;
    request.set_lease_token(lease_of(started)->token);
    started = 1 + renewals.Start([&](grpc::ClientContext* context, grpc::CompletionQueue* queue) {
      return Stub().AsyncRenew(context, request, queue);
    });
  };
  const auto check_next = [&] {
    const auto renewal = renewals.Next();
    ASSERT_TRUE(renewal.has_value());
    const Held* const lease = lease_of(renewal->number);
    const auto gone = FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_RELEASED");
    if (lease == &living) {
      EXPECT_THAT(renewal->answer, IsOk());
    } else if (lease == &ended || renewal->number >= released_before) {
      EXPECT_THAT(renewal->answer, gone);
    } else {
      EXPECT_THAT(renewal->answer, testing::AnyOf(IsOk(), gone));
    }
  };
  const steady_clock::time_point began = steady_clock::now();
  for (int i = 0; i < kAtOnce; ++i) start();
  while (steady_clock::now() - began < seconds(1) && !HasFailure()) {
    if (started < released_before && steady_clock::now() - began > milliseconds(500)) {
      EXPECT_THAT(client().Release(ending.token), IsOk());
      released_before = started;
    }
    check_next();
    start();
  }
  while (renewals.under_way() > 0 && !HasFailure()) check_next();
  RecordProperty("renewals_in_a_second", absl::StrCat(started));
  EXPECT_GT(started, released_before) << "it was released meanwhile";
  EXPECT_EQ(client().Stats().in_use(), 1);
  EXPECT_EQ(client().Execute(living.token, "SELECT 1").Value(), "int_value: 1");
}

}  // namespace
}  // namespace pglessor::system
