#include "server/pool_edges.h"

#include <utility>

#include "absl/status/status.h"

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
    : control(loop, {ControlDsn(pool), kControlName}),
      target(loop, control, pool.target_session),
      connector(loop, control, {pool.dsn, kLeasedName}, &target) {
  connector.SetRolePasswords(pool.passwords);
  connector.SetValidation(pool.validation);
}

void PoolEdges::Add(core::Lessor& lessor, const std::vector<PoolConfig>& pools) {
  // All of them first: one may be another's primary.
  for (const PoolConfig& pool : pools) {
    Edge& edge = edges_.emplace_back(loop_, pool);
    by_pool_[pool.options.name] = &edge;
    edge.control.Start();
  }
  for (const PoolConfig& pool : pools) {
    const std::string& name = pool.options.name;
    Edge& edge = EdgeOf(name);
    Edge& tokens = pool.primary.empty() ? edge : EdgeOf(pool.primary);
    core::Connector& connector = faults_ == nullptr ? edge.connector : faults_->Wrap(name, edge.connector);
    edge.target.Start([&lessor, name] {
      lessor.Reset(name, /*force=*/false, "its database is not of the kind that it wants",
                   [](const auto&) {});
    });
    lessor.AddPool(pool.options, connector, tokens.control);
  }
}

void PoolEdges::Remove(core::Lessor& lessor, const std::string& pool, core::Duration timeout,
                       core::Pools::Gone gone) {
  Edge& edge = EdgeOf(pool);
  by_pool_.erase(pool);
  // The next pool of that name is none of its business.
  edge.target.Stop();
  const absl::Status removed =
      lessor.RemovePool(pool, timeout, [&edge, gone = std::move(gone)](core::Pool::Stage stage) mutable {
        edge.control.Stop();
        gone(stage);
      });
  PGLESSOR_CHECK(removed.ok(), "what has an edge is a pool");
}

void PoolEdges::Move(const PoolConfig& pool) {
  Edge& edge = EdgeOf(pool.options.name);
  edge.connector.SetDsn(pool.dsn);
  edge.connector.SetRolePasswords(pool.passwords);
  edge.connector.SetValidation(pool.validation);
  edge.control.SetDsn(ControlDsn(pool));
}

PoolEdges::Edge& PoolEdges::EdgeOf(const std::string& pool) {
  const auto edge = by_pool_.find(pool);
  PGLESSOR_CHECK(edge != by_pool_.end(), "a pool that is there has an edge");
  return *edge->second;
}

}  // namespace pglessor
