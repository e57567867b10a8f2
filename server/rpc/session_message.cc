#include "server/rpc/session_message.h"

#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include "pglessor/v1/sql_service.grpc.pb.h"
#include "server/core/check.h"
#include "server/core/error.h"

namespace pglessor::rpc {

absl::StatusOr<v1::SessionRequest> RequestFrom(grpc::ByteBuffer& bytes) {
  grpc::ProtoBufferReader reader(&bytes);
  v1::SessionRequest request;
  if (!reader.status().ok() || !request.ParseFromZeroCopyStream(&reader)) {
    return core::FieldInvalid("message",
                              "expected a SessionRequest; this cannot be parsed, as where a text "
                              "in it is not UTF-8");
  }
  return request;
}

int64_t IdIn(grpc::ByteBuffer& bytes) {
  grpc::ProtoBufferReader reader(&bytes);
  google::protobuf::UnknownFieldSet fields;
  if (!reader.status().ok() || !fields.ParseFromZeroCopyStream(&reader)) return 0;
  int64_t id = 0;
  for (int i = 0; i < fields.field_count(); ++i) {
    const google::protobuf::UnknownField& field = fields.field(i);
    const bool is_it = field.number() == v1::SessionRequest::kIdFieldNumber &&
                       field.type() == google::protobuf::UnknownField::TYPE_VARINT;
    if (is_it) id = static_cast<int64_t>(field.varint());
  }
  return id;
}

grpc::ByteBuffer ToBytes(const v1::SessionResponse& response) {
  grpc::ByteBuffer bytes;
  bool owned = false;
  const grpc::Status written =
      grpc::SerializationTraits<v1::SessionResponse>::Serialize(response, &bytes, &owned);
  PGLESSOR_CHECK(written.ok(), "a response is far below protobuf's 2 GB");
  return bytes;
}

}  // namespace pglessor::rpc
