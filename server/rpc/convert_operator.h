// Proto ↔ core, for what operators list and steer. Pure; bad input ends here, with the field's name and what
// was expected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"

#include "pglessor/v1/operator_service.pb.h"
#include "server/core/fault_injection.h"
#include "server/core/lessor.h"
#include "server/core/lists.h"

namespace pglessor::rpc {

// How many rows a page holds, from `page_size`.
absl::StatusOr<size_t> PageSizeFromProto(int32_t page_size);

absl::StatusOr<core::LeaseQuery> FromProto(const v1::ListLeasesRequest& request);
absl::StatusOr<core::ConnectionQuery> FromProto(const v1::ListConnectionsRequest& request);

// Nothing: every fault is to be removed. A seed of 0 asks for one.
absl::StatusOr<std::optional<core::Fault>> FromProto(const v1::InjectFaultRequest& request);

v1::Connection ToProto(const core::ListedConnection& connection, const core::Lessor& lessor);

}  // namespace pglessor::rpc
