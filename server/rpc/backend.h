// What answers calls: the parts of the process that the services speak to. All outlive RpcServer::Stop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "server/core/clock.h"
#include "server/core/event_history.h"
#include "server/core/fault_injection.h"
#include "server/core/lessor.h"

namespace pglessor::rpc {

// What a drain that has begun waits for.
struct DrainBegun {
  core::WallTime deadline{};
  int32_t leases = 0;
};

struct Backend {
  core::Lessor& lessor;
  const core::Clock& clock;
  core::EventHistory& history;  // closed by Stop
  // Begins the drain of the server; unset = with its own timeout. Where one has begun, tells of that.
  std::function<DrainBegun(std::optional<core::Duration> timeout)> drain;
  core::FaultInjection* faults = nullptr;  // null: the server was not started for it
};

}  // namespace pglessor::rpc
