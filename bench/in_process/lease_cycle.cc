// P2b: what a lease costs in the process: acquire + release through core::Lessor with all that the default
// configuration has: the lease's record, its token, events, stats, the reaper. A pool of 20.
//
//   script/bench P2b        as ratios
//   lease_cycle             once
//
// Prints nanoseconds a pair by load (see hand_over.cc), and who:
//   pglessor            with its token: signed when it is acquired, proved when it is released
//   without token       the same without
//   token               the difference that the token makes alone: one signed and one proved
//   hmac                one HMAC-SHA256 of as long a text
//   limit               no lease at all: a mutex and a free list (bench/support/free_list.h), which says how
//                       fast the machine is just now
#include <malloc.h>

#include <string>

#include "absl/strings/str_cat.h"

#include "bench/support/callers.h"
#include "bench/support/figures.h"
#include "bench/support/free_list.h"
#include "bench/support/idle_lessor.h"
#include "bench/support/idle_pool.h"
#include "server/hmac_key.h"

namespace pglessor::bench {
namespace {

constexpr int kConnections = 20;
constexpr int kCallers[] = {1, 2, 16, 64};

// A holder who has only the token, as over the wire.
class IdleLessorWithTokens {
 public:
  using Held = std::string;

  IdleLessorWithTokens(const core::PoolOptions& options, const core::TokenKey& key) : leases_(options, key) {}

  template <typename Granted>
  void Acquire(Granted granted) {
    leases_.Acquire([this, granted = std::move(granted)](const core::LeaseView& lease) mutable {
      granted(leases_.lessor().TokenOf(lease.grant));
    });
  }
  void Release(const Held& token) {
    const auto proof = leases_.lessor().Prove(token);
    PGLESSOR_CHECK(proof.ok(), "the token is ours");
    leases_.lessor().Release(proof->lease, core::Disposition::kReturn,
                             [](absl::StatusOr<core::Lessor::Released> released) {
                               PGLESSOR_CHECK(released.ok(), "its holder has it");
                             });
  }
  core::Lessor& lessor() { return leases_.lessor(); }

 private:
  IdleLessor leases_;
};

template <typename Leases>
void Measure(const std::string& who, const core::TokenKey& key) {
  Leases leases(FixedSize(kConnections), key);
  const Reaping reaping(leases.lessor());
  // So many ended leases are remembered: until then each takes memory that was not touched before.
  for (size_t i = 0; i < core::LeaseTableOptions().max_ended; ++i) {
    leases.Acquire([&](const typename Leases::Held& held) { leases.Release(held); });
  }
  for (const int callers : kCallers) {
    for (const Hold hold : {Hold::kNothing, Hold::kYield}) {
      PrintFigure(absl::StrCat(callers, " callers", hold == Hold::kYield ? ", yielding" : ""), who,
                  Continuations(leases, callers, hold).Run());
    }
  }
}

void MeasureToken(const core::TokenKey& key) {
  IdleLessorWithTokens leases(FixedSize(1), key);
  core::LeaseGrant grant;
  grant.counter = core::LeaseCounter{1'000'000};
  grant.terms.tenant = "default";
  const core::Lessor& lessor = leases.lessor();
  PrintFigure("1 callers", "token", RunThreads(1, [&] {
                PGLESSOR_CHECK(lessor.Prove(lessor.TokenOf(grant)).ok(), "the token is ours");
              }));
  const std::string text(70, 'x');  // about what is signed of a token
  uint8_t sum = 0;
  PrintFigure("1 callers", "hmac", RunThreads(1, [&] { sum ^= key.Sign(text)[0]; }));
}

int Main() {
  // The threads of a measurement are new each time, and glibc would give each new memory, which was not
  // touched before; a server's threads stay.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const HmacKey key;
  Measure<IdleLessorWithTokens>("pglessor", key);
  Measure<IdleLessor>("without token", key);
  MeasureToken(key);
  FreeList limit(kConnections);
  PrintFigure("1 callers", "limit", Continuations(limit, 1, Hold::kNothing).Run());
  return 0;
}

}  // namespace
}  // namespace pglessor::bench

int main() { return pglessor::bench::Main(); }
