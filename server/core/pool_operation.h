// What operators ask of a whole pool, Reset, Expire and Renew, and that takes a while: one that is under way,
// and what came of it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"

#include "server/core/clock.h"
#include "server/core/ids.h"

namespace pglessor::core {

// Which fields mean something depends on the operation.
struct PoolReport {
  uint64_t generation = 0;
  int32_t retired = 0;       // connections taken out of use at once
  int32_t retiring = 0;      // connections that will be when they come back
  int32_t leases_ended = 0;  // by this operation
  int32_t opened = 0;        // beside `replaced`
  int32_t validated = 0;     // probes, the failed ones included
  int32_t replaced = 0;      // connections that failed their probe
  int32_t failed = 0;        // openings that failed
  int32_t total = 0;         // afterwards
  bool coalesced = false;    // the answer is that of one that was under way
};

struct PoolOperation {
  enum class Kind {
    kReset,        // idle connections close now, leased ones when they come back
    kForcedReset,  // leased ones too
    kExpire,       // the same for those that are old
    kForcedExpire,
    kRenew,  // idle ones are probed, and more opened
  };
  // Fails with: UNAVAILABLE DATABASE_UNAVAILABLE (a reset whose minimum did not stand in time), DRAINING.
  using Done = absl::AnyInvocable<void(absl::StatusOr<PoolReport>)>;

  Kind kind = Kind::kReset;
  // What makes two of a kind the same: the age, or the target.
  int64_t argument = 0;
  Time deadline{};
  int32_t target = 0;          // as many connections are to stand
  int32_t probes_awaited = 0;  // of kRenew
  // Of a forced one: leased connections that have not come back yet.
  std::vector<ConnectionIndex> leased;
  PoolReport report;
  std::vector<Done> done;  // the first asked for it, the others joined

  bool Resets() const { return kind == Kind::kReset || kind == Kind::kForcedReset; }
};

}  // namespace pglessor::core
