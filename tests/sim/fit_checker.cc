#include "tests/sim/fit_checker.h"

#include "absl/strings/str_cat.h"

namespace pglessor::core::sim {

void FitChecker::OnEvent(const Event& event) {
  switch (event.type) {
    case EventType::kPoolReset:
      generation_ = event.generation;
      return;
    case EventType::kConnectionOpened:
      connections_[event.backend_pid] = {event.generation, Now(), Now()};
      return;
    case EventType::kConnectionCleaned:
    case EventType::kConnectionValidated:
      connections_[event.backend_pid].heard_of = Now();
      return;
    case EventType::kLeaseGranted:
      return OnGrant(event);
    default:
      return;
  }
}

bool FitChecker::IsApart(const std::string& tenant) const {
  const PoolOptions& options = ledger().options();
  return ledger().LimitsOf(tenant).isolation.value_or(options.isolation) == Isolation::kConnection;
}

void FitChecker::OnGrant(const Event& event) {
  const PoolOptions& options = ledger().options();
  const Backend* const backend = scene_.postgres.Find(event.backend_pid);
  Connection& connection = connections_[event.backend_pid];
  const bool apart = IsApart(event.tenant);
  const char* wrong = nullptr;
  if (backend == nullptr || backend->role() != ledger().LimitsOf(event.tenant).role)
    wrong = "of another role";
  if (connection.generation < generation_) wrong = "of an old generation";
  if (options.max_lifetime > Duration::zero() && Now() - connection.opened >= options.max_lifetime) {
    wrong = "that is too old";
  }
  if (Now() - connection.heard_of > options.validate_after) wrong = "that was not heard of lately";
  if (!connection.tenant.empty() && connection.tenant != event.tenant && (apart || connection.apart)) {
    wrong = "that another tenant had";
  }
  if (wrong != nullptr) {
    Violate("S5", absl::StrCat(event.tenant, " is lent backend ", event.backend_pid, ", one ", wrong));
  }
  connection.tenant = event.tenant;
  connection.apart = apart;
}

}  // namespace pglessor::core::sim
