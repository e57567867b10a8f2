// Proto ↔ core, for the settings of a live pool. Pure; bad input ends here, with the field's name and what
// was expected. Whether the values fit together the core judges; here its faults get their path.
#pragma once

#include "absl/status/statusor.h"

#include "pglessor/v1/operator_service.pb.h"
#include "server/core/options.h"

namespace pglessor::rpc {

v1::PoolSettings ToProto(const core::PoolOptions& options);

// The pool's options with what the mask names changed.
absl::StatusOr<core::PoolOptions> Changed(core::PoolOptions options, const v1::UpdatePoolRequest& request);

}  // namespace pglessor::rpc
