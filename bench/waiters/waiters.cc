// P10: what waiting callers cost others: a Release while 10, 1,000 or 100,000 acquires wait for the one
// connection, which goes to the first of them; and the memory of a waiter. Through core::Lessor, so with the
// whole of an acquire. Its peer is itself with 10 waiters.
//
//   script/bench P10        five times, as ratios
//   waiters                 once
//
// Prints the median of a Release in nanoseconds, in which the next is granted, and bytes a waiter. One that
// was served is replaced by another outside what is timed, so that their number stands.
#include <malloc.h>

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "bench/support/figures.h"
#include "bench/support/idle_lessor.h"
#include "bench/support/idle_pool.h"

namespace pglessor::bench {
namespace {

constexpr int kWaiters[] = {10, 1'000, 100'000};
constexpr int kReleases = 20'000;

// Tokens are not signed here.
class NoKey : public core::TokenKey {
  Mac Sign(absl::string_view) const override { return {}; }
};

size_t Allocated() { return mallinfo2().uordblks; }

void Measure(int waiters) {
  const NoKey key;
  IdleLessor leases(FixedSize(1), key);
  std::deque<core::LeaseView> granted;
  const auto acquire = [&] {
    leases.Acquire([&](core::LeaseView lease) { granted.push_back(std::move(lease)); });
  };
  acquire();
  const size_t before = Allocated();
  for (int i = 0; i < waiters; ++i) acquire();
  const auto memory = static_cast<double>(Allocated() - before);

  std::vector<double> took;
  for (int i = 0; i < kReleases; ++i) {
    const core::LeaseView lease = std::move(granted.front());
    granted.pop_front();
    const auto start = Clock::now();
    leases.Release(lease);
    took.push_back(NanosecondsSince(start));
    acquire();
    if (i % 5'000 == 0) leases.lessor().Tick();
  }
  PrintFigure("a release, ns", absl::StrCat("with ", waiters), Percentile(took, 50));
  if (waiters < 100'000) return;
  PrintFigure("memory of a waiter, bytes", absl::StrCat("with ", waiters), memory / waiters);
  // All are served, so that nobody is refused when the pool goes.
  while (!granted.empty()) {
    const core::LeaseView lease = std::move(granted.front());
    granted.pop_front();
    leases.Release(lease);
  }
}

int Main() {
  for (const int waiters : kWaiters) Measure(waiters);
  return 0;
}

}  // namespace
}  // namespace pglessor::bench

int main() { return pglessor::bench::Main(); }
