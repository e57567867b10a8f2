#include "tests/sim/lending_checkers.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace pglessor::core::sim {
namespace {

bool Ends(const Event& event) {
  return event.type == EventType::kLeaseReleased || event.type == EventType::kLeaseEnded;
}

}  // namespace

void ExclusiveChecker::OnEvent(const Event& event) {
  if (event.type == EventType::kLeaseGranted) {
    const auto [before, alone] = lent_.emplace(event.backend_pid, *event.lease);
    if (!alone) {
      Violate("S1", absl::StrCat("backend ", event.backend_pid, " is lent to lease ", event.lease->value,
                                 " while lease ", before->second.value, " has it"));
    }
  } else if (Ends(event)) {
    const auto lent = lent_.find(event.backend_pid);
    if (lent == lent_.end() || lent->second != *event.lease) {
      Violate("S1", absl::StrCat("lease ", event.lease->value, " ends on backend ", event.backend_pid,
                                 ", which it did not have"));
    } else {
      lent_.erase(lent);
    }
  }
}

void ExclusiveChecker::AfterStep() {
  size_t in_use = 0;
  for (const PoolView::Row& row : scene_.view.connections) {
    if (row.slot.state != SlotState::kInUse) continue;
    ++in_use;
    const auto lent = lent_.find(row.backend_pid);
    if (lent == lent_.end() || row.lease != lent->second) {
      Violate("S1", absl::StrCat("Stats has backend ", row.backend_pid, " in use by lease ",
                                 row.lease ? row.lease->value : 0, ", the events do not"));
    }
  }
  if (in_use != lent_.size()) {
    Violate("S1", absl::StrCat(lent_.size(), " leases have connections, and ", in_use, " are in use"));
  }
}

void CleanChecker::OnEvent(const Event& event) {
  if (event.type != EventType::kLeaseGranted) return;
  const Backend* const backend = scene_.postgres.Find(event.backend_pid);
  if (backend == nullptr) return Violate("S4", absl::StrCat("backend ", event.backend_pid, " never was"));
  const char* wrong = nullptr;
  if (!backend->fake().clean()) wrong = "with its last holder's session in it";
  if (backend->fake().running()) wrong = "with a statement running";
  if (backend->fake().closing()) wrong = "while it is being closed";
  if (backend->lost()) wrong = "dead";
  if (backend->probing()) wrong = "before its probe is answered";
  if (wrong != nullptr) Violate("S4", absl::StrCat("backend ", event.backend_pid, " is lent ", wrong));
}

void FencingChecker::OnEvent(const Event& event) {
  if (event.type == EventType::kLeaseGranted) of_this_step_.push_back(event.fencing_token);
}

void FencingChecker::AfterStep() {
  std::sort(of_this_step_.begin(), of_this_step_.end());
  for (const FencingToken token : of_this_step_) {
    if (token <= highest_) {
      Violate("S2", absl::StrCat("fencing token ", token.value, " comes after ", highest_.value));
    }
    highest_ = token;
  }
  of_this_step_.clear();
}

void OnceChecker::OnEvent(const Event& event) {
  if (event.type != EventType::kLeaseGranted) return;
  uint64_t number = 0;
  if (!absl::SimpleAtoi(event.holder, &number)) return Violate("S9", "a lease of nobody");
  const AcquireRecord& acquire = ledger().acquire(number);
  if (acquire.lease && ledger().Remembers(*acquire.lease)) {
    Violate("S9", absl::StrCat("acquire ", number, " gets lease ", event.lease->value, ", and has lease ",
                               acquire.lease->value));
  } else if (!ledger().waiting().contains(number) || ledger().GivenUp(acquire)) {
    Violate("S9",
            absl::StrCat("acquire ", number, " gets lease ", event.lease->value, ", and waits no more"));
  }
}

void TermChecker::OnEvent(const Event& event) {
  if (!Ends(event)) return;
  const LeaseRecord& lease = ledger().lease(*event.lease);
  if (event.end_reason == EndReason::kExpired && Now() < lease.expiry) {
    Violate("S16", absl::StrCat("lease ", event.lease->value, " is expired before its time"));
  }
  if (event.end_reason == EndReason::kReleased && !lease.end_asked) {
    Violate("S16", absl::StrCat("lease ", event.lease->value, " is released, and nobody asked for it"));
  }
}

}  // namespace pglessor::core::sim
