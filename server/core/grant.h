// What an acquire is granted: the right to one connection, and the connection itself.
#pragma once

#include <cstdint>
#include <memory>

#include "server/core/clock.h"
#include "server/core/connection.h"
#include "server/core/ids.h"

namespace pglessor::core {

// Names a connection's slot in one pool: where it is, and which connection must be in it.
struct SlotRef {
  uint32_t position = 0;
  ConnectionIndex index;

  friend bool operator==(const SlotRef&, const SlotRef&) = default;
};

// Decided by the pool's state, under its lock.
struct SlotGrant {
  SlotRef slot;
  FencingToken fencing_token;
  Time at{};
  Duration waited{};
};

// The same with the connection, for who asked.
struct Granted {
  SlotGrant slot;
  // Shared: the pool's registry, the lease and a statement on its way to the strand each keep it alive.
  std::shared_ptr<Connection> connection;
  WallTime opened{};  // the connection
};

}  // namespace pglessor::core
