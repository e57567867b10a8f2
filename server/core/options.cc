#include "server/core/options.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"

#include "server/core/check.h"
#include "server/core/error.h"

namespace pglessor::core {
namespace {

class Check {
 public:
  explicit Check(const PoolOptions& options) : options_(options) {}

  absl::Status Run() {
    Sizes();
    Ttls();
    for (const auto& [name, limits] : options_.tenants) TenantOf(name, limits);
    Expect(guaranteed_ <= options_.max_connections, "tenants",
           absl::StrCat("expected guarantees of together at most max_connections, which is ",
                        options_.max_connections, ", got ", guaranteed_));
    return faults_.empty() ? absl::OkStatus() : FieldsInvalid(std::move(faults_));
  }

 private:
  void Expect(bool fits, std::string field, std::string expected) {
    if (!fits) faults_.push_back({std::move(field), std::move(expected)});
  }

  void Sizes() {
    const int32_t min = options_.min_connections;
    const int32_t max = options_.max_connections;
    Expect(max >= 1 && max <= kMostConnections, "max_connections",
           absl::StrCat("expected a number from 1 to ", kMostConnections, ", got ", max));
    Expect(min >= 0 && min <= max, "min_connections",
           absl::StrCat("expected a number from 0 to max_connections, which is ", max, ", got ", min));
  }

  void Ttls() {
    Expect(options_.min_ttl > Duration::zero() && options_.min_ttl <= options_.max_ttl, "min_ttl",
           "expected above zero and at most max_ttl");
    Expect(options_.default_ttl >= options_.min_ttl && options_.default_ttl <= options_.max_ttl,
           "default_ttl", "expected from min_ttl to max_ttl");
    Expect(options_.max_ttl <= options_.max_lease_lifetime, "max_ttl", "expected at most max_lease_lifetime");
  }

  void TenantOf(const std::string& name, const TenantLimits& limits) {
    const auto field = [&](const char* which) { return absl::StrCat("tenants[", name, "].", which); };
    Expect(limits.max_leases >= 0, field("max_leases"), "expected 0, which is no quota, or more");
    Expect(limits.guaranteed >= 0 && (limits.max_leases <= 0 || limits.guaranteed <= limits.max_leases),
           field("guaranteed"), "expected 0 or more, and at most max_leases where that is set");
    Expect(limits.weight >= 1 && limits.weight <= kMostWeight, field("weight"),
           absl::StrCat("expected a number from 1 to ", kMostWeight));
    Expect(std::isfinite(limits.acquires_per_second) && limits.acquires_per_second >= 0,
           field("acquires_per_second"), "expected 0, which is no limit, or more");
    Expect(limits.burst >= 0, field("burst"), "expected 0, which is a second's worth, or more");
    guaranteed_ += limits.guaranteed;
  }

  const PoolOptions& options_;
  std::vector<Violation> faults_;
  int64_t guaranteed_ = 0;
};

}  // namespace

absl::Status CheckOptions(const PoolOptions& options) { return Check(options).Run(); }

int32_t WarmLevel(const PoolOptions& options) {
  switch (options.warmup) {
    case Warmup::kLazy:
      return 0;
    case Warmup::kMinimum:
    case Warmup::kForecast:
      return options.min_connections;
    case Warmup::kMaximum:
      return options.max_connections;
  }
  PGLESSOR_CHECK(false, "every warm-up has a level");
}

}  // namespace pglessor::core
