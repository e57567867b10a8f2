// One client, many threads.
#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "tests/client/support/client_fixture.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using system::Eventually;

class ClientThreads : public ClientFixture {
 protected:
  void SetUp() override { Start(4, 4); }
};

TEST_F(ClientThreads, ShareOneClient) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 20;
  std::atomic<int> done = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int round = 0; round < kRounds; ++round) {
        Lease lease = AcquireFor(milliseconds(300));
        const absl::StatusOr<Result> sum = lease.Execute("SELECT $1::int8 + $2::int8", thread, round);
        ASSERT_THAT(sum, IsOk());
        EXPECT_EQ(sum->value<int64_t>().value(), thread + round);
        if (round % 2 == 0) {
          EXPECT_THAT(lease.Release(), IsOk());
        }
        ++done;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(done, kThreads * kRounds);
  EXPECT_TRUE(Eventually([&] { return client().Stats().counters().released() == kThreads * kRounds; }));
}

TEST_F(ClientThreads, OnOneLeaseOneRunsAtATime) {
  Lease lease = Acquire();
  auto running = std::async(std::launch::async, [&] { return lease.Execute("SELECT pg_sleep(600)"); });
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  EXPECT_THAT(lease.Execute("SELECT 1"), FailsWith(StatusCode::kAborted, "LEASE_BUSY"));
  EXPECT_FALSE(lease.lost());
  EXPECT_THAT(lease.Release(), IsOk()) << "does not wait for the statement";
  EXPECT_FALSE(running.get().ok());
}

TEST_F(ClientThreads, ManyLeasesAreRenewedByOneThread) {
  std::vector<Lease> leases;
  for (int i = 0; i < 4; ++i) leases.push_back(AcquireFor(milliseconds(300)));
  ASSERT_TRUE(Eventually([begin = std::chrono::steady_clock::now()] {
    return std::chrono::steady_clock::now() - begin > milliseconds(1500);
  }));
  for (const Lease& lease : leases) EXPECT_FALSE(lease.lost());
  EXPECT_EQ(client().Stats().counters().expired(), 0);
}

}  // namespace
}  // namespace pglessor
