#include "server/pool_edges.h"

#include "server/core/check.h"

namespace pglessor {
namespace {

constexpr char kLeasedName[] = "pglessor";
constexpr char kControlName[] = "pglessor-control";

const std::string& ControlDsn(const PoolConfig& pool) {
  return pool.control_dsn.empty() ? pool.dsn : pool.control_dsn;
}

}  // namespace

PoolEdges::Edge::Edge(executor::EventLoop& loop, const PoolConfig& pool)
    : options(pool.options),
      primary(pool.primary),
      control(loop, {ControlDsn(pool), kControlName}),
      target(loop, control, pool.target_session),
      connector(loop, control, {pool.dsn, kLeasedName}, &target) {
  connector.SetRolePasswords(pool.passwords);
  connector.SetValidation(pool.validation);
}

PoolEdges::PoolEdges(executor::EventLoop& loop, const std::vector<PoolConfig>& pools) {
  for (const PoolConfig& pool : pools) edges_.try_emplace(pool.options.name, loop, pool);
}

void PoolEdges::AddTo(core::Lessor& lessor, core::FaultInjection* faults) {
  for (auto& [name, edge] : edges_) {
    Edge& tokens = edge.primary.empty() ? edge : edges_.at(edge.primary);
    core::Connector& connector = faults == nullptr ? edge.connector : faults->Wrap(name, edge.connector);
    lessor.AddPool(edge.options, connector, tokens.control);
    edge.target.Start([&lessor, name = name] {
      lessor.Reset(name, /*force=*/false, "its database is not of the kind that it wants",
                   [](const auto&) {});
    });
  }
}

void PoolEdges::Start() {
  for (auto& [name, edge] : edges_) edge.control.Start();
}

void PoolEdges::Move(const PoolConfig& pool) {
  const auto edge = edges_.find(pool.options.name);
  PGLESSOR_CHECK(edge != edges_.end(), "a pool that moves is there");
  edge->second.connector.SetDsn(pool.dsn);
  edge->second.connector.SetRolePasswords(pool.passwords);
  edge->second.connector.SetValidation(pool.validation);
  edge->second.control.SetDsn(ControlDsn(pool));
}

}  // namespace pglessor
