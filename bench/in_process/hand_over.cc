// P2a: what it costs to hand over a slot in the process: acquire + release, with queue, counts and fencing
// number, and without a lease. Beside it the limit, a mutex and a free list (bench/support/free_list.h).
// Peers: bench/peers (puddle, database/sql, HikariCP). A pool of 20; nobody does anything with what he holds.
//
//   script/bench P2a        ours and the peers in turn, as ratios
//   hand_over               ours and the limit, once
//
// Prints nanoseconds a pair by load:
//   N callers           callers that release at once, carried as continuations
//   N callers, yielding the same, where each lets all others go first while it holds: 64 of them always wait
//   N threads           callers that release at once, each a thread that sleeps while it waits
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

#include "bench/support/callers.h"
#include "bench/support/figures.h"
#include "bench/support/free_list.h"
#include "bench/support/idle_pool.h"

namespace pglessor::bench {
namespace {

constexpr int kConnections = 20;
constexpr int kCallers[] = {1, 2, 16, 64};

template <typename MakePool>
void Measure(const std::string& who, MakePool make) {
  for (const int callers : kCallers) {
    const auto carried = [&](Hold hold) {
      auto pool = make();
      return Continuations<typename decltype(pool)::element_type>(*pool, callers, hold).Run();
    };
    PrintFigure(absl::StrCat(callers, " callers"), who, carried(Hold::kNothing));
    PrintFigure(absl::StrCat(callers, " callers, yielding"), who, carried(Hold::kYield));
    auto pool = make();
    PrintFigure(absl::StrCat(callers, " threads"), who, RunThreads(callers, [&] {
                  auto held = AcquireAndSleep(*pool);
                  pool->Release(held);
                }));
  }
}

int Main() {
  Measure("pglessor", [] { return std::make_unique<IdlePool>(FixedSize(kConnections)); });
  Measure("limit", [] { return std::make_unique<FreeList>(kConnections); });
  return 0;
}

}  // namespace
}  // namespace pglessor::bench

int main() { return pglessor::bench::Main(); }
