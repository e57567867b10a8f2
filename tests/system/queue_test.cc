// Who waits for a lease, for how long, and what becomes of a waiter that goes.
#include <chrono>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;

class QueueTest : public SystemTest {
 protected:
  static v1::AcquireRequest Waiting(milliseconds wait) {
    v1::AcquireRequest request;
    *request.mutable_wait_timeout() = Span(wait);
    return request;
  }
  bool AwaitWaiting(int waiting) {
    return Eventually([&] { return client().Stats().waiting() == waiting; });
  }
};

TEST_F(QueueTest, WaitersAreServedInTheirOrder) {
  Serve(1, 1);
  Held held = Acquire();
  std::vector<std::unique_ptr<BackgroundAcquire>> waiters;
  for (int i = 0; i < 5; ++i) {
    waiters.push_back(StartAcquire(client()));
    ASSERT_TRUE(AwaitWaiting(i + 1));
  }
  for (auto& waiter : waiters) {
    EXPECT_FALSE(waiter->Done());
    EXPECT_THAT(client().Release(held.token), IsOk());
    const Answer<v1::AcquireResponse> next = waiter->Get();
    ASSERT_THAT(next, IsOk());
    EXPECT_GT(Nanoseconds(next.response.lease().waited()).count(), 0);
    held.token = next.response.lease_token();
  }
}

TEST_F(QueueTest, WaitTimeoutZeroTakesAnIdleConnectionOrOpensOne) {
  Serve(1, 2);
  EXPECT_THAT(client().Acquire(Waiting(milliseconds(0))), IsOk()) << "the idle one";
  EXPECT_THAT(client().Acquire(Waiting(milliseconds(0))), IsOk()) << "opened for it";
  const auto third = client().Acquire(Waiting(milliseconds(0)));
  EXPECT_THAT(third, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "NO_IDLE_CONNECTION"));
  EXPECT_NE(third.status.error_message(), "");
  EXPECT_EQ(client().Stats().counters().rejected(), 1);
}

TEST_F(QueueTest, WaitedInVain) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto began = std::chrono::steady_clock::now();
  const auto vain = client().Acquire(Waiting(milliseconds(200)));
  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(200));
  EXPECT_THAT(vain, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "POOL_EXHAUSTED"));
  EXPECT_EQ(vain.Metadata("in_use"), "1");
  EXPECT_EQ(vain.Metadata("max"), "1");
  EXPECT_EQ(vain.Metadata("waiting"), "0");
  ASSERT_TRUE(vain.retry_after.has_value());
  EXPECT_GT(Nanoseconds(*vain.retry_after).count(), 0);
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.waiting(), 0);
  EXPECT_EQ(stats.counters().timed_out(), 1);
}

TEST_F(QueueTest, TheCallersDeadlineComesFirst) {
  Serve(1, 1);
  const Held held = Acquire();
  const Client::Context context = Client::NewContext();
  context->set_deadline(std::chrono::system_clock::now() + milliseconds(200));
  EXPECT_THAT(client().Acquire(Waiting(seconds(30)), context.get()),
              FailsWith(StatusCode::DEADLINE_EXCEEDED));
  EXPECT_TRUE(AwaitWaiting(0));
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.counters().acquires_requested(), 2);
  EXPECT_EQ(stats.counters().cancelled(), 1) << "by its deadline";
  EXPECT_EQ(stats.counters().timed_out(), 0) << "its wait_timeout was longer";
  EXPECT_EQ(stats.in_use(), 1);
}

TEST_F(QueueTest, ACancelledAcquireLeavesTheQueue) {
  Serve(1, 1);
  const Held held = Acquire();
  const auto first = StartAcquire(client());
  ASSERT_TRUE(AwaitWaiting(1));
  const auto second = StartAcquire(client());
  ASSERT_TRUE(AwaitWaiting(2));
  first->Cancel();
  EXPECT_THAT(first->Get(), FailsWith(StatusCode::CANCELLED));
  EXPECT_TRUE(AwaitWaiting(1));
  EXPECT_EQ(client().Stats().counters().cancelled(), 1);
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_THAT(second->Get(), IsOk()) << "the one behind it is served";
}

// Callers that give up at any instant. Where the answer had left the server by then, which it cannot know,
// the lease lasts until its ttl; never longer.
TEST_F(QueueTest, CallersThatGiveUpCostAtMostTheirTtl) {
  Serve(2, 2);
  constexpr int kCallers = 8, kRounds = 40;
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      std::minstd_rand random(i + 1);
      for (int round = 0; round < kRounds; ++round) {
        const Client::Context context = Client::NewContext();
        context->set_deadline(std::chrono::system_clock::now() + std::chrono::microseconds(random() % 4000));
        const auto answer = client().Acquire(AcquireFor(milliseconds(300)), context.get());
        if (answer.ok()) {
          client().Release(answer.response.lease_token());
        } else {
          EXPECT_THAT(answer, FailsWith(StatusCode::DEADLINE_EXCEEDED));
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_TRUE(AwaitRest());
  EXPECT_EQ(client().Stats().waiting(), 0);
}

}  // namespace
}  // namespace pglessor::system
