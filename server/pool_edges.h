// The pools' ends at PostgreSQL: for each a control connection, and a connector that opens what is leased.
//
// Threads: one uses it; the loop works for it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "server/config.h"
#include "server/core/fault_injection.h"
#include "server/core/lessor.h"
#include "server/executor/event_loop.h"
#include "server/postgres/connector.h"
#include "server/postgres/control_connection.h"
#include "server/postgres/target_watch.h"

namespace pglessor {

class PoolEdges {
 public:
  // `loop` outlives it, and must not run when it is destroyed. Requires: each pool has a DSN.
  PoolEdges(executor::EventLoop& loop, const std::vector<PoolConfig>& pools);

  // Makes the pools there; it outlives whatever runs the loop. A pool whose database is no longer of the kind
  // that it wants is reset, gracefully.
  // With `faults`, unless it is null, each pool has its own; it then outlives the lessor.
  void AddTo(core::Lessor& lessor, core::FaultInjection* faults);
  void Start();

  // Where that pool is from now on: what is opened next is opened there, and the control connection anew.
  // What is open stays as it is; a Reset of the pool replaces it. Requires: the pool is one of those.
  void Move(const PoolConfig& pool);

 private:
  struct Edge {
    Edge(executor::EventLoop& loop, const PoolConfig& pool);

    core::PoolOptions options;
    std::string primary;
    postgres::ControlConnection control;
    postgres::TargetWatch target;
    postgres::Connector connector;
  };

  std::map<std::string, Edge> edges_;  // by the pool's name
};

}  // namespace pglessor
