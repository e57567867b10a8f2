// Proto ↔ core, for events and watches. Pure.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

#include "pglessor/v1/operator_service.pb.h"
#include "server/core/event_history.h"
#include "server/core/lessor.h"

namespace pglessor::rpc {

absl::StatusOr<core::EventFilter> FromProto(const v1::WatchEventsRequest& request);

v1::EventType ToProto(core::EventType type);
v1::Event ToProto(const core::EventWatch::Next& next, const core::Lessor& lessor);

}  // namespace pglessor::rpc
