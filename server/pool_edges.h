// The pools' ends at PostgreSQL: for each a control connection, and a connector that opens what is leased.
//
// Threads: one uses it; the loop works for it.
#pragma once

#include <list>
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
  // `loop` outlives it, and must not run when it is destroyed. With `faults`, unless it is null, each pool
  // has its own; it outlives whatever runs the loop.
  PoolEdges(executor::EventLoop& loop, core::FaultInjection* faults) : loop_(loop), faults_(faults) {}

  // Makes the pools there, which open what they want as soon as the loop runs. It outlives `lessor`, and that
  // whatever runs the loop. A pool whose database is no longer of the kind that it wants is reset,
  // gracefully. Requires: each has a DSN, and each one's primary is one of these or there already.
  void Add(core::Lessor& lessor, const std::vector<PoolConfig>& pools);

  // Removes the pool there, whose leases have `timeout` to end. Its control connection ends with it, and then
  // `gone` is told, on the loop. Requires: the pool is there, and no other that is there has it as its
  // primary.
  void Remove(core::Lessor& lessor, const std::string& pool, core::Duration timeout, core::Pools::Gone gone);

  // Where that pool is from now on: what is opened next is opened there, and the control connection anew.
  // What is open stays as it is; a Reset of the pool replaces it. Requires: the pool is there.
  void Move(const PoolConfig& pool);

 private:
  struct Edge {
    Edge(executor::EventLoop& loop, const PoolConfig& pool);

    postgres::ControlConnection control;
    postgres::TargetWatch target;
    postgres::Connector connector;
  };

  Edge& EdgeOf(const std::string& pool);

  executor::EventLoop& loop_;
  core::FaultInjection* const faults_;
  std::list<Edge> edges_;                 // also those of pools that were removed: they stay where they are
  std::map<std::string, Edge*> by_pool_;  // of those that are there
};

}  // namespace pglessor
