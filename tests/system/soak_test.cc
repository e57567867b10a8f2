// A soak: many callers of mixed tenants and priorities on twenty connections, for PGLESSOR_SOAK_SECONDS (15
// if unset; script/soak sets it). Nothing leaks, Stats' sums hold in every sample, the queue is fair, and
// memory stays where it was.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/configured_test.h"
#include "tests/system/support/memory.h"

namespace pglessor::system {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr int kMax = 20, kCallersOfEach = 25;
constexpr milliseconds kAgeStep(1000);
constexpr milliseconds kShortTtl(500);

seconds Length() {
  const char* const text = getenv("PGLESSOR_SOAK_SECONDS");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  int64_t length = 15;
  EXPECT_TRUE(text == nullptr || absl::SimpleAtoi(text, &length)) << "PGLESSOR_SOAK_SECONDS=" << text;
  return seconds(length);
}

// One kind of caller. Two tenants of each priority but the lowest, of which there are four, so that all kinds
// together are 200 callers.
struct Kind {
  std::string tenant;
  v1::Priority priority;
};
const std::vector<Kind>& Kinds() {
  static const auto* const kinds = new std::vector<Kind>{
      {"light", v1::PRIORITY_HIGH},   {"heavy", v1::PRIORITY_HIGH}, {"light", v1::PRIORITY_NORMAL},
      {"heavy", v1::PRIORITY_NORMAL}, {"light", v1::PRIORITY_LOW},  {"heavy", v1::PRIORITY_LOW},
      {"others", v1::PRIORITY_LOW},   {"more", v1::PRIORITY_LOW}};
  return *kinds;
}

// What one caller was given.
struct Share {
  int64_t grants = 0;
  milliseconds longest_wait{};
};

class SoakTest : public ConfiguredTest {
 protected:
  void SetUp() override {
    // "heavy" has three turns where the others have one.
    ServeFile(absl::StrCat("ended_retention = \"5s\"\n",
                           Pool("default", Sizes(10, kMax),
                                absl::StrCat("age_step = \"", kAgeStep.count(), "ms\"\nmin_ttl = \"100ms\"")),
                           "[pools.default.tenants.heavy]\nweight = 3\n"));
    database().MakeTable("deeds", "deed text");
  }

  // Takes leases, uses them in one of the ways that holders do, and gives most of them back.
  void Call(const Kind& kind, uint32_t seed, Share& share) {
    Client caller(server().address());
    std::mt19937 random(seed);
    v1::AcquireRequest request;
    request.set_tenant(kind.tenant);
    request.set_priority(kind.priority);
    *request.mutable_wait_timeout() = Span(seconds(60));
    while (!stop_) {
      const uint32_t way = random() % 100;
      *request.mutable_ttl() = Span(way < 2 ? kShortTtl : milliseconds(30'000));
      const steady_clock::time_point asked = steady_clock::now();
      const Answer<v1::AcquireResponse> held = caller.Acquire(request);
      ASSERT_TRUE(held.ok()) << held;
      ++share.grants;
      share.longest_wait =
          std::max(share.longest_wait, duration_cast<milliseconds>(steady_clock::now() - asked));
      Hold(caller, held.response, way);
    }
  }

  void Hold(Client& caller, const v1::AcquireResponse& held, uint32_t way) {
    const std::string& token = held.lease_token();
    if (way < 2) return;  // it forgets the lease, which ends by its ttl
    if (way < 60) {
      EXPECT_EQ(caller.Execute(token, "SELECT pg_backend_pid()").Value(),
                absl::StrCat("int_value: ", held.lease().backend_pid()));
    } else if (way < 70) {
      EXPECT_THAT(caller.Execute(token, "BEGIN"), IsOk());
      EXPECT_THAT(caller.Execute(token, "INSERT INTO deeds VALUES ('never')"), IsOk());
    } else if (way < 75) {
      EXPECT_THAT(caller.Execute(token, "CREATE TEMP TABLE mine (n int)"), IsOk());
    } else if (way < 76) {
      EXPECT_THAT(caller.Execute(token, "SELECT 1/0"), testing::Not(IsOk()));
    } else if (way < 86) {
      ExpectEcho(caller, token, held.lease().lease_id());
    }
    if (way % 10 == 0) {
      EXPECT_THAT(caller.Renew(token), IsOk());
    }
    EXPECT_THAT(caller.Release(token), IsOk());
  }

  // A row, a notice and an error reach the lease that caused them, and no other.
  static void ExpectEcho(Client& caller, const std::string& token, const std::string& nonce) {
    EXPECT_EQ(caller.Execute(token, "SELECT $1::text", {Text(nonce)}).Value(),
              absl::StrCat("text_value: \"", nonce, "\""));
    const auto raise = [&](const char* level) {
      return caller.Execute(token, absl::StrCat("DO $$ BEGIN RAISE ", level, " '", nonce, "'; END $$"));
    };
    EXPECT_THAT(raise("NOTICE").summary.notices(), testing::ElementsAre(nonce));
    EXPECT_THAT(raise("EXCEPTION").status.error_message(), testing::HasSubstr(nonce));
  }

  // Samples until `end`; each Stats checks its sums.
  void Watch(steady_clock::time_point begin, steady_clock::time_point end) {
    const pid_t pid = server().process().pid();
    // By then everything has been grown into.
    const steady_clock::time_point warm = begin + (end - begin) / 3;
    int64_t samples = 0;
    for (; steady_clock::now() < end && !HasFailure(); ++samples) {
      const v1::PoolStats stats = client().Stats();
      EXPECT_LE(stats.total(), kMax);
      EXPECT_LE(observer().Count("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"), kMax);
      const int64_t memory = ResidentKilobytes(pid);
      if (steady_clock::now() < warm) warm_kilobytes_ = std::max(warm_kilobytes_, memory);
      most_kilobytes_ = std::max(most_kilobytes_, memory);
      std::this_thread::sleep_for(milliseconds(50));
    }
    std::cout << samples << " samples; resident " << warm_kilobytes_ << " KB at most in the first third, "
              << most_kilobytes_ << " KB at most in all\n";
  }

  std::atomic<bool> stop_ = false;
  int64_t warm_kilobytes_ = 0, most_kilobytes_ = 0;
};

TEST_F(SoakTest, NothingLeaksAndTheQueueIsFair) {
  const steady_clock::time_point begin = steady_clock::now();
  std::vector<std::vector<Share>> shares(Kinds().size(), std::vector<Share>(kCallersOfEach));
  std::vector<std::thread> callers;
  for (size_t kind = 0; kind < Kinds().size(); ++kind) {
    for (int i = 0; i < kCallersOfEach; ++i) {
      callers.emplace_back([&, kind, i, seed = static_cast<uint32_t>(callers.size())] {
        Call(Kinds()[kind], seed, shares[kind][static_cast<size_t>(i)]);
      });
    }
  }
  Watch(begin, begin + Length());
  stop_ = true;
  for (std::thread& caller : callers) caller.join();

  // No lease is left, nor anything that a holder has left open.
  EXPECT_TRUE(Eventually([&] { return client().Stats().in_use() == 0; })) << client().Stats().DebugString();
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.waiting(), 0);
  EXPECT_EQ(stats.stuck(), 0);
  EXPECT_EQ(stats.counters().lost(), 0);
  EXPECT_GT(stats.counters().expired(), 0) << "some were forgotten";
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);

  std::map<std::pair<std::string, v1::Priority>, int64_t> grants;
  for (size_t kind = 0; kind < Kinds().size(); ++kind) {
    int64_t all = 0, least = shares[kind][0].grants, most = 0;
    milliseconds longest{};
    for (const Share& share : shares[kind]) {
      all += share.grants;
      least = std::min(least, share.grants);
      most = std::max(most, share.grants);
      longest = std::max(longest, share.longest_wait);
    }
    const auto& [tenant, priority] = Kinds()[kind];
    grants[{tenant, priority}] = all;
    std::cout << tenant << " " << v1::Priority_Name(priority) << ": " << all << " grants, " << least << " to "
              << most << " a caller, longest wait " << longest.count() << " ms\n";
    // First come, first served: all callers of one kind have the same share, to within a few turns.
    EXPECT_LE(most, least * 3 / 2 + 5) << tenant;
    // Nobody starves: after two steps one of low priority is as high as any, and is overtaken no more.
    EXPECT_LT(longest, 2 * kAgeStep + seconds(10)) << tenant;
  }
  const int64_t light = grants[{"light", v1::PRIORITY_HIGH}], heavy = grants[{"heavy", v1::PRIORITY_HIGH}];
  EXPECT_GT(heavy, light) << "it has more turns";
  // Three for one where somebody of both always waits, which a slow caller does not.
  EXPECT_LE(heavy, 6 * light);
  if (PGLESSOR_UNDER_ASAN == 0) {
    EXPECT_LE(most_kilobytes_, warm_kilobytes_ + warm_kilobytes_ / 10 + 4 * 1024) << "memory is flat";
  }
}

}  // namespace
}  // namespace pglessor::system
