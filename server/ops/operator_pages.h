// What the service shows to those who watch it by HTTP:
//
//   /metrics   for Prometheus: every figure of each pool, and of its busiest tenants (see metrics.h)
//   /healthz   200 while the process answers
//   /readyz    200 while new acquires are welcome; else 503, with a line for each reason why not
//
// Readiness is what gRPC's health says too: from the moment that every pool is warm until a drain begins.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "server/core/clock.h"
#include "server/core/lessor.h"
#include "server/ops/http_server.h"

namespace pglessor::ops {

enum class Phase { kStarting, kServing, kDraining };

// Empty if new acquires are welcome.
std::vector<std::string> WhyNotReady(Phase phase, const std::vector<core::PoolView>& pools);

// Threads: any.
class OperatorPages {
 public:
  // Both outlive it, and it outlives whoever serves Pages(). It takes now for the start of the process.
  OperatorPages(core::Lessor& lessor, const core::Clock& clock, std::string version);

  void Enter(Phase phase) { phase_ = phase; }

  HttpPages Pages();

 private:
  std::vector<core::PoolView> Pools() const;
  HttpPage Metrics() const;
  HttpPage Readiness() const;

  core::Lessor& lessor_;
  const std::string version_;
  const core::WallTime started_;
  std::atomic<Phase> phase_{Phase::kStarting};
};

}  // namespace pglessor::ops
