// The names of things: strong types, so that a connection's number is never taken for a lease's.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

#include "server/core/clock.h"

namespace pglessor::core {

template <typename Tag>
struct Number {
  uint64_t value = 0;

  friend constexpr auto operator<=>(Number, Number) = default;
  template <typename H>
  friend H AbslHashValue(H h, Number number) {
    return H::combine(std::move(h), number.value);
  }
};

// Counts from 1 per pool for the life of the process, so its order is the connections' age.
using ConnectionIndex = Number<struct ConnectionIndexTag>;
// Counts from 1 for the life of the process, over all pools, in the order of the grants.
using LeaseCounter = Number<struct LeaseCounterTag>;
// Names an acquire in one pool's queue. Rising, so its order is the order of arrival.
using WaiterId = Number<struct WaiterIdTag>;
// One tenant in one pool; never used again for another.
using TenantId = Number<struct TenantIdTag>;
// One statement on one lease; rising per lease.
using StatementId = Number<struct StatementIdTag>;
// The public number that rises with every grant of one pool. See fencing_tokens.h.
using FencingToken = Number<struct FencingTokenTag>;

// One statement of the whole process.
struct StatementKey {
  LeaseCounter lease;
  StatementId statement;

  friend bool operator==(const StatementKey&, const StatementKey&) = default;
};

// "conn_<index>_<unix nanoseconds of its creation>"
std::string FormatConnectionId(ConnectionIndex index, WallTime created);

// Who we are: a replica's name, and a number that no other run of it has.
struct ReplicaId {
  std::string name;   // [A-Za-z0-9._-]+
  uint64_t boot = 0;  // random, drawn at start

  friend bool operator==(const ReplicaId&, const ReplicaId&) = default;
};

// A lease's public name: "<replica>-<boot as 16 hex digits>-<counter>".
struct LeaseId {
  ReplicaId replica;
  LeaseCounter counter;

  friend bool operator==(const LeaseId&, const LeaseId&) = default;
};

std::string FormatLeaseId(const LeaseId& id);
// Nothing, unless `text` is exactly what FormatLeaseId writes.
std::optional<LeaseId> ParseLeaseId(absl::string_view text);

}  // namespace pglessor::core
