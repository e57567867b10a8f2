#include "server/rpc/convert_event.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"

#include "server/core/check.h"
#include "server/core/error.h"
#include "server/core/utf8.h"
#include "server/rpc/convert.h"

namespace pglessor::rpc {
namespace {

using core::EventType;

using core::Milliseconds;

// Facts that have no field of their own.
void SetMetadata(const core::Event& event, v1::Event& proto) {
  auto& metadata = *proto.mutable_metadata();
  for (const auto& [key, value] : event.tags) metadata[absl::StrCat("tag.", key)] = value;
  if (event.age) metadata["age_ms"] = Milliseconds(*event.age);
  if (event.held) metadata["held_ms"] = Milliseconds(*event.held);
  if (event.waited) metadata["waited_ms"] = Milliseconds(*event.waited);
  if (event.total) metadata["total"] = absl::StrCat(*event.total);
  if (event.max != 0) metadata["max"] = absl::StrCat(event.max);
}

}  // namespace

absl::StatusOr<core::EventFilter> FromProto(const v1::WatchEventsRequest& request) {
  core::EventFilter filter{request.pool(), request.tenant(), std::nullopt};
  if (request.types_size() > v1::EventType_ARRAYSIZE) {
    return core::FieldInvalid("types", "expected each EventType at most once");
  }
  if (!request.types().empty()) filter.types.emplace();
  for (const int wanted : request.types()) {
    if (wanted == v1::EVENT_TYPE_UNSPECIFIED || !v1::EventType_IsValid(wanted)) {
      return core::FieldInvalid("types", absl::StrCat("expected EventTypes, got ", wanted));
    }
    for (const EventType type : core::kAllEventTypes) {
      if (ToProto(type) == wanted) filter.types->push_back(type);
    }
  }
  return filter;
}

v1::EventType ToProto(EventType type) {
  switch (type) {
    case EventType::kConnectionOpened:
      return v1::EVENT_TYPE_CONNECTION_OPENED;
    case EventType::kConnectionOpenFailed:
      return v1::EVENT_TYPE_CONNECTION_OPEN_FAILED;
    case EventType::kConnectionValidated:
      return v1::EVENT_TYPE_CONNECTION_VALIDATED;
    case EventType::kConnectionLeased:
      return v1::EVENT_TYPE_CONNECTION_LEASED;
    case EventType::kConnectionReleased:
      return v1::EVENT_TYPE_CONNECTION_RELEASED;
    case EventType::kConnectionCleaned:
      return v1::EVENT_TYPE_CONNECTION_CLEANED;
    case EventType::kConnectionRetired:
      return v1::EVENT_TYPE_CONNECTION_RETIRED;
    case EventType::kConnectionClosed:
      return v1::EVENT_TYPE_CONNECTION_CLOSED;
    case EventType::kConnectionStuck:
      return v1::EVENT_TYPE_CONNECTION_STUCK;
    case EventType::kLeaseGranted:
      return v1::EVENT_TYPE_LEASE_GRANTED;
    case EventType::kLeaseRenewed:
      return v1::EVENT_TYPE_LEASE_RENEWED;
    case EventType::kLeaseReleased:
    case EventType::kLeaseEnded:
      return v1::EVENT_TYPE_LEASE_ENDED;
    case EventType::kWaiterQueued:
      return v1::EVENT_TYPE_WAITER_QUEUED;
    case EventType::kWaiterLeft:
      return v1::EVENT_TYPE_WAITER_LEFT;
    case EventType::kPoolSaturated:
      return v1::EVENT_TYPE_POOL_SATURATED;
    case EventType::kPoolReset:
      return v1::EVENT_TYPE_POOL_RESET;
    case EventType::kPoolPaused:
      return v1::EVENT_TYPE_POOL_PAUSED;
    case EventType::kPoolResumed:
      return v1::EVENT_TYPE_POOL_RESUMED;
    case EventType::kPoolUpdated:
      return v1::EVENT_TYPE_POOL_UPDATED;
    case EventType::kBreakerChanged:
      return v1::EVENT_TYPE_BREAKER_CHANGED;
    case EventType::kLeaseLeakSuspected:
      return v1::EVENT_TYPE_LEASE_LEAK_SUSPECTED;
    case EventType::kDrainStarted:
      return v1::EVENT_TYPE_DRAIN_STARTED;
  }
  PGLESSOR_CHECK(false, "every type of event has a proto value");
}

v1::Event ToProto(const core::EventWatch::Next& next, const core::Lessor& lessor) {
  const core::Event& event = next.event->event;
  v1::Event proto;
  proto.set_sequence(next.event->sequence);
  *proto.mutable_event_time() = ToProto(next.event->at);
  proto.set_type(ToProto(event.type));
  proto.set_pool(event.pool);
  proto.set_connection_id(event.connection_id);
  if (event.lease) proto.set_lease_id(core::FormatLeaseId(lessor.IdOf(*event.lease)));
  proto.set_tenant(event.tenant);
  proto.set_holder(event.holder);
  proto.set_reason(core::ToValidUtf8(event.reason));
  SetMetadata(event, proto);
  proto.set_missed(next.missed);
  proto.set_backend_pid(event.backend_pid);
  proto.set_generation(event.generation);
  proto.set_fencing_token(event.fencing_token.value);
  if (event.end_reason) proto.set_end_reason(ToProto(*event.end_reason));
  if (event.breaker) proto.set_breaker(ToProto(*event.breaker));
  return proto;
}

}  // namespace pglessor::rpc
