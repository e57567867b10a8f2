#include "tests/sim/operator.h"

#include <chrono>
#include <iterator>

#include "absl/strings/str_cat.h"

#include "tests/sim/scenario.h"

namespace pglessor::core::sim {

using namespace std::chrono_literals;

void Operator::Next() {
  if (between_ == Duration::zero()) return;
  stage_.Later(stage_.random.Between(0ms, between_ * 2), [this] {
    if (retired_) return;
    Act();
    Next();
  });
}

void Operator::Act() {
  switch (stage_.random.Below(7)) {
    case 0:
      return Reset();
    case 1:
      return ExpireSomeLease();
    case 2:
      return ExpireLeases();
    case 3:
      return ExpireConnections();
    case 4:
      return RenewPool();
    case 5:
      return PauseForAWhile();
    default:
      return Reconfigure();
  }
}

void Operator::Reset() {
  const bool force = stage_.random.Percent(50);
  stage_.history.Note(force ? "operator: reset by force" : "operator: reset");
  ++owed_;
  lessor_.Reset(ledger_.options().name, force, "", [this](const absl::StatusOr<PoolReport>&) { --owed_; });
}

void Operator::ExpireSomeLease() {
  if (ledger_.living().empty()) return;
  const auto place = static_cast<int64_t>(stage_.random.Below(ledger_.living().size()));
  const LeaseCounter lease = *std::next(ledger_.living().begin(), place);
  stage_.history.Note(absl::StrCat("operator: lease ", lease.value, " ends"));
  ledger_.EndAsked(lease);
  ++owed_;
  lessor_.Expire(lease, {.reason = EndReason::kRevoked}, /*validate_only=*/false,
                 [this](const absl::StatusOr<Lessor::Expired>&) { --owed_; });
}

void Operator::ExpireLeases() {
  LeaseFilter filter;
  filter.tenant = "a";
  stage_.history.Note("operator: the leases of a end");
  for (const LeaseCounter lease : ledger_.living()) {
    if (ledger_.lease(lease).tenant == "a") ledger_.EndAsked(lease);
  }
  ++owed_;
  lessor_.ExpireLeases(filter, "", /*validate_only=*/false,
                       [this](const absl::StatusOr<Lessor::Expired>&) { --owed_; });
}

void Operator::ExpireConnections() {
  const bool leased_too = stage_.random.Percent(50);
  stage_.history.Note(leased_too ? "operator: old connections go, leased ones too"
                                 : "operator: old connections go");
  ++owed_;
  lessor_.ExpireConnections({ledger_.options().name, stage_.random.Between(0ms, 1s), leased_too}, "",
                            /*validate_only=*/false,
                            [this](const absl::StatusOr<Lessor::Expired>&) { --owed_; });
}

void Operator::RenewPool() {
  stage_.history.Note("operator: renew of the pool");
  ++owed_;
  lessor_.RenewPool(ledger_.options().name, stage_.random.From(0, 4),
                    [this](const absl::StatusOr<PoolReport>&) { --owed_; });
}

void Operator::PauseForAWhile() {
  if (paused_) return;
  stage_.history.Note("operator: pause");
  paused_ = true;
  lessor_.PausePool(ledger_.options().name, "").status().IgnoreError();  // it is known
  stage_.Later(stage_.random.Between(0ms, 600ms), [this] { Resume(); });
}

void Operator::Resume() {
  if (!paused_) return;
  stage_.history.Note("operator: resume");
  paused_ = false;
  lessor_.ResumePool(ledger_.options().name).status().IgnoreError();
}

void Operator::Reconfigure() {
  const PoolOptions options = Redraw(ledger_.options(), stage_.random);
  stage_.history.Note(absl::StrCat("operator: ", Describe(options)));
  ledger_.SetOptions(options);
  if (const absl::Status fault = lessor_.Reconfigure(options); !fault.ok()) {
    stage_.history.Violate("options", fault.message());
  }
}

void Operator::Retire() {
  retired_ = true;
  Resume();
}

}  // namespace pglessor::core::sim
