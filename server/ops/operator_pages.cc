#include "server/ops/operator_pages.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "server/core/check.h"
#include "server/ops/metrics.h"

namespace pglessor::ops {
namespace {

constexpr int kOk = 200;
constexpr int kServiceUnavailable = 503;

}  // namespace

std::vector<std::string> WhyNotReady(Phase phase, const std::vector<core::PoolView>& pools) {
  if (phase == Phase::kServing) return {};
  if (phase == Phase::kDraining) return {"draining"};
  std::vector<std::string> reasons;
  for (const core::PoolView& pool : pools) {
    const int32_t open =
        pool.snapshot.in(core::SlotState::kAvailable) + pool.snapshot.in(core::SlotState::kInUse);
    const int32_t wanted = core::WarmLevel(pool.options);
    if (open >= wanted) continue;
    reasons.push_back(absl::StrCat("pool ", pool.options.name, ": ", open, " of ", wanted, " connections"));
  }
  if (reasons.empty()) reasons.emplace_back("starting");
  return reasons;
}

OperatorPages::OperatorPages(core::Lessor& lessor, const core::Clock& clock, std::string version)
    : lessor_(lessor), version_(std::move(version)), started_(clock.WallNow()) {}

HttpPages OperatorPages::Pages() {
  return {
      {"/healthz", [] { return HttpPage{.body = "ok\n"}; }},
      {"/metrics", [this] { return Metrics(); }},
      {"/readyz", [this] { return Readiness(); }},
  };
}

std::vector<core::PoolView> OperatorPages::Pools() const {
  absl::StatusOr<std::vector<core::PoolView>> pools = lessor_.Stats("");
  PGLESSOR_CHECK(pools.ok(), "only a pool that is named can be unknown");
  return *std::move(pools);
}

HttpPage OperatorPages::Metrics() const {
  const ServerFacts server{version_, lessor_.replica().name, started_};
  return {.content_type = kMetricsContentType, .body = MetricsText(server, Pools())};
}

HttpPage OperatorPages::Readiness() const {
  const std::vector<std::string> reasons = WhyNotReady(phase_, Pools());
  if (reasons.empty()) return {.status = kOk, .body = "ready\n"};
  return {.status = kServiceUnavailable, .body = absl::StrCat(absl::StrJoin(reasons, "\n"), "\n")};
}

}  // namespace pglessor::ops
