// P12: 10,000 leases expire in one tick of the reaper, while others are renewed: how long does a Renew take
// meanwhile? Its peer is itself while nothing expires.
//
//   script/bench P12        five times, as ratios
//   expiry_storm            once
//
// Prints how long the tick takes, and of the Renews that begin during it their median, their 99th percentile
// and the slowest, in microseconds.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/support/figures.h"
#include "bench/support/idle_lessor.h"
#include "bench/support/idle_pool.h"

namespace pglessor::bench {
namespace {

constexpr int kExpiring = 10'000;
constexpr int kRenewed = 1'000;
constexpr core::Duration kShortTtl = std::chrono::seconds(1);

class NoKey : public core::TokenKey {
  Mac Sign(absl::string_view) const override { return {}; }
};

core::LeaseCounter Acquire(core::Lessor& lessor, core::Duration ttl) {
  core::LeaseCounter lease;
  core::AcquireRequest request;
  request.ttl = ttl;
  lessor.Acquire(std::move(request), [&](absl::StatusOr<core::LeaseView> granted) {
    PGLESSOR_CHECK(granted.ok(), "there is one for each");
    lease = granted->grant.counter;
  });
  return lease;
}

// Renews one lease after the other, in microseconds each, until `stop`, and at least a hundred.
std::vector<double> RenewUntil(const std::atomic<bool>& stop, core::Lessor& lessor,
                               const std::vector<core::LeaseCounter>& leases) {
  std::vector<double> took;
  while (!stop || took.size() < 100) {
    const auto start = Clock::now();
    const auto renewed = lessor.Renew(leases[took.size() % leases.size()], std::nullopt);
    took.push_back(NanosecondsSince(start) / 1'000);
    PGLESSOR_CHECK(renewed.ok(), "its time is not over");
  }
  return took;
}

void PrintRenews(const std::string& when, std::vector<double> took) {
  PrintFigure("renew p50, us", when, Percentile(took, 50));
  PrintFigure("renew p99, us", when, Percentile(took, 99));
  PrintFigure("renew slowest, us", when, *std::max_element(took.begin(), took.end()));
}

int Main() {
  const NoKey key;
  IdleLessor leases(FixedSize(kExpiring + kRenewed), key);
  core::Lessor& lessor = leases.lessor();
  for (int i = 0; i < kExpiring; ++i) Acquire(lessor, kShortTtl);
  std::vector<core::LeaseCounter> renewed;
  for (int i = 0; i < kRenewed; ++i) renewed.push_back(Acquire(lessor, std::chrono::minutes(10)));
  std::this_thread::sleep_for(kShortTtl);

  std::atomic<bool> stop{false};
  std::vector<double> during;
  std::atomic<bool> renewing{false};
  std::thread renewer([&] {
    renewing = true;
    during = RenewUntil(stop, lessor, renewed);
  });
  while (!renewing) std::this_thread::yield();
  const auto start = Clock::now();
  lessor.Tick();
  PrintFigure("tick, us", "in the storm", NanosecondsSince(start) / 1'000);
  stop = true;
  renewer.join();
  PGLESSOR_CHECK(lessor.InUse() == kRenewed, "one tick has ended them all");
  const size_t count = during.size();
  PrintFigure("renews", "in the storm", static_cast<double>(count));
  PrintRenews("in the storm", std::move(during));

  std::atomic<bool> calm{false};
  std::thread ticker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    calm = true;
  });
  PrintRenews("in calm", RenewUntil(calm, lessor, renewed));
  ticker.join();
  return 0;
}

}  // namespace
}  // namespace pglessor::bench

int main() { return pglessor::bench::Main(); }
