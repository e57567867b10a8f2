#include "server/rpc/convert_operator.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"
#include "server/rpc/convert.h"

namespace pglessor::rpc {
namespace {

using core::FieldInvalid;

constexpr int32_t kDefaultPageSize = 100;
constexpr int32_t kMaxPageSize = 1000;

absl::StatusOr<std::optional<core::LeaseState>> FromProto(v1::LeaseState state) {
  switch (state) {
    case v1::LEASE_STATE_UNSPECIFIED:
      return std::optional<core::LeaseState>();
    case v1::LEASE_STATE_ACTIVE:
      return std::optional(core::LeaseState::kActive);
    case v1::LEASE_STATE_ENDING:
      return std::optional(core::LeaseState::kEnding);
    case v1::LEASE_STATE_ENDED:
      return std::optional(core::LeaseState::kEnded);
    default:
      return FieldInvalid("state", absl::StrCat("expected a LeaseState, got ", static_cast<int>(state)));
  }
}

absl::StatusOr<std::optional<core::SlotState>> FromProto(v1::ConnectionState state) {
  switch (state) {
    case v1::CONNECTION_STATE_UNSPECIFIED:
      return std::optional<core::SlotState>();
    case v1::CONNECTION_STATE_OPENING:
      return std::optional(core::SlotState::kOpening);
    case v1::CONNECTION_STATE_AVAILABLE:
      return std::optional(core::SlotState::kAvailable);
    case v1::CONNECTION_STATE_IN_USE:
      return std::optional(core::SlotState::kInUse);
    case v1::CONNECTION_STATE_CLEANING:
      return std::optional(core::SlotState::kCleaning);
    case v1::CONNECTION_STATE_RETIRING:
      return std::optional(core::SlotState::kRetiring);
    case v1::CONNECTION_STATE_STUCK:
      return std::optional(core::SlotState::kStuck);
    default:
      return FieldInvalid("state", absl::StrCat("expected a ConnectionState, got ", static_cast<int>(state)));
  }
}

template <typename Query, typename Request>
absl::StatusOr<Query> QueryOf(const Request& request) {
  const auto state = FromProto(request.state());
  if (!state.ok()) return state.status();
  Query query;
  query.filter.pool = request.pool();
  query.filter.tenant = request.tenant();
  query.filter.tags.insert(request.tags().begin(), request.tags().end());
  query.state = *state;
  return query;
}

}  // namespace

absl::StatusOr<size_t> PageSizeFromProto(int32_t page_size) {
  if (page_size < 0) {
    return FieldInvalid("page_size", absl::StrCat("expected 0 for ", kDefaultPageSize, ", or 1 to ",
                                                  kMaxPageSize, ", got ", page_size));
  }
  return static_cast<size_t>(page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize));
}

absl::StatusOr<core::LeaseQuery> FromProto(const v1::ListLeasesRequest& request) {
  return QueryOf<core::LeaseQuery>(request);
}

absl::StatusOr<core::ConnectionQuery> FromProto(const v1::ListConnectionsRequest& request) {
  return QueryOf<core::ConnectionQuery>(request);
}

absl::StatusOr<std::optional<core::Fault>> FromProto(const v1::InjectFaultRequest& request) {
  if (request.pool().empty()) return PoolNotNamed("pool");
  core::Fault fault{.probability = request.probability(), .count = request.count(), .seed = request.seed()};
  if (fault.probability == 0) fault.probability = 1;
  // Not the other way round: what is not a number is neither.
  if (!(fault.probability > 0 && fault.probability <= 1)) {
    return FieldInvalid("probability", "expected a number above 0 and at most 1; 0 or unset means 1");
  }
  if (fault.count < 0) {
    return FieldInvalid("count", "expected a number of failures, or 0 for as many as come");
  }
  if (request.has_delay()) {
    const absl::StatusOr<core::Duration> delay = FromProto(request.delay(), "delay");
    if (!delay.ok()) return delay.status();
    fault.delay = *delay;
  }
  switch (request.kind()) {
    case v1::FAULT_KIND_NONE:
      return std::optional<core::Fault>();
    case v1::FAULT_KIND_OPEN_FAILS:
      fault.kind = core::FaultKind::kOpenFails;
      return std::optional(fault);
    case v1::FAULT_KIND_OPEN_HANGS:
      fault.kind = core::FaultKind::kOpenHangs;
      return std::optional(fault);
    case v1::FAULT_KIND_VALIDATION_FAILS:
      fault.kind = core::FaultKind::kValidationFails;
      return std::optional(fault);
    case v1::FAULT_KIND_STATEMENT_DELAYED:
      fault.kind = core::FaultKind::kStatementDelayed;
      if (fault.delay.value_or(core::Duration::zero()) == core::Duration::zero()) {
        return FieldInvalid("delay", "expected a duration above zero: how long a statement is held back");
      }
      return std::optional(fault);
    case v1::FAULT_KIND_CONNECTION_CUT:
      fault.kind = core::FaultKind::kConnectionCut;
      return std::optional(fault);
    default:
      return FieldInvalid("kind",
                          absl::StrCat("expected a FaultKind, got ", static_cast<int>(request.kind())));
  }
}

v1::Connection ToProto(const core::ListedConnection& connection, const core::Lessor& lessor) {
  v1::Connection proto;
  proto.set_pool(connection.pool);
  *proto.mutable_stats() = ToProto(connection.row, connection.now, connection.now_wall, lessor);
  if (connection.lease) ToProto(*connection.lease, lessor, *proto.mutable_lease());
  return proto;
}

}  // namespace pglessor::rpc
