// The calls that callers make: each is noted, told to the ledger, and its answer judged where it comes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "server/core/lessor.h"
#include "tests/sim/ledger.h"
#include "tests/sim/stage.h"

namespace pglessor::core::sim {

// Whether `status` has that error reason.
bool HasReason(const absl::Status& status, absl::string_view reason);

class Calls {
 public:
  using Answered = absl::AnyInvocable<void(uint64_t call, bool granted)>;

  Calls(Stage& stage, Ledger& ledger, Lessor& lessor) : stage_(stage), ledger_(ledger), lessor_(lessor) {}

  // One call of that acquire; returns its number. `answered` comes once, perhaps inside.
  uint64_t Acquire(uint64_t acquire, Duration wait, Answered answered);
  void Over(uint64_t call, bool delivered);
  bool IsOver(uint64_t call) const { return !attempts_.contains(call); }
  // Whether it was renewed.
  bool Renew(LeaseCounter lease, std::optional<Duration> ttl);
  void Release(LeaseCounter lease, Disposition disposition);
  // Nothing if it was refused. `ended` comes once, when the statement has ended.
  std::optional<Lessor::Running> Execute(LeaseCounter lease, const char* sql,
                                         absl::AnyInvocable<void()> ended);

  // Answers that are still owed, of every call but Acquire.
  int32_t owed() const { return owed_; }

  // What the last Acquire of this step met: how it was answered at once, if it was.
  struct Arrival {
    uint64_t call = 0;
    uint64_t acquire = 0;
    bool at_the_pool = false;  // it found no place and no lease that it could join, for certain
    int32_t in_use = 0;        // of its tenant, before
    int32_t waiting = 0;
    std::optional<absl::Status> at_once;
  };
  std::optional<Arrival> TakeArrival() { return std::exchange(arrival_, std::nullopt); }

 private:
  void Judge(uint64_t call, const absl::StatusOr<LeaseView>& lease);

  Stage& stage_;
  Ledger& ledger_;
  Lessor& lessor_;
  std::map<uint64_t, Lessor::AttemptRef> attempts_;
  std::optional<Arrival> arrival_;
  int32_t owed_ = 0;
};

}  // namespace pglessor::core::sim
