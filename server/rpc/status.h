// Status ↔ grpc::Status: a core error's details in the form that gRPC clients read.
//
// The details travel in the trailer grpc-status-details-bin as a serialized google.rpc.Status with
// google.rpc.ErrorInfo, RetryInfo, QuotaFailure and BadRequest (google/rpc/error_details.proto); ours are
// wire-compatible copies under the same type URLs.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

#include "pglessor/v1/status.pb.h"

namespace pglessor::rpc {

// A Status of ours with its details; one that core made without any goes as it is.
v1::Status ToProto(const absl::Status& status);
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace pglessor::rpc
