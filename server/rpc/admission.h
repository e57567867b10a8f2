// The one door: each call is let in by it before its handler runs, or is refused.
//
// Threads: any.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"

#include "server/rpc/authorization.h"
#include "server/rpc/caller.h"
#include "server/rpc/identities.h"

namespace pglessor::rpc {

class Admission {
 public:
  // `identities` outlives it.
  explicit Admission(const Identities& identities) : identities_(identities) {}

  // Who makes this call, if it may be made.
  // Fails with: UNAUTHENTICATED UNAUTHENTICATED, PERMISSION_DENIED PERMISSION_DENIED.
  absl::StatusOr<CallerRef> Admit(const grpc::ServerContext& context,
                                  const google::protobuf::Message& request) const;

 private:
  const Identities& identities_;
  const Authorization authorization_;
};

}  // namespace pglessor::rpc
