// A Session's messages, to and from the bytes that its stream carries.
//
// gRPC tells of a message that it cannot parse as it tells of the client's half-close: whoever reads could
// not know a faulty request, which is to be answered, from the end. So the stream is one of bytes, and they
// are parsed here.
//
// Pure.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>

#include "absl/status/statusor.h"

#include "pglessor/v1/sql_service.pb.h"

namespace pglessor::rpc {

// Fails with: INVALID_ARGUMENT FIELD_INVALID. A text in it that is not UTF-8 is enough.
absl::StatusOr<v1::SessionRequest> RequestFrom(grpc::ByteBuffer& bytes);

// The id of a request that cannot be parsed; 0 where not even its fields can be told apart.
int64_t IdIn(grpc::ByteBuffer& bytes);

grpc::ByteBuffer ToBytes(const v1::SessionResponse& response);

}  // namespace pglessor::rpc
