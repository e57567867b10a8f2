// How the servers are spoken to: in plain text or over TLS, and with what secret.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "pglessor/client.h"

namespace pglessor::internal {

struct Access {
  // Of TCP connections; those to unix sockets are plain. Shared by all channels.
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  std::string bearer_secret = {};  // goes with each call; empty = none
};

// Reads the files. Fails with: INVALID_ARGUMENT (one cannot be read; a secret that no call could carry).
absl::StatusOr<Access> AccessOf(const ClientOptions& options);

// A connection that is made when it is first used.
std::shared_ptr<grpc::Channel> NewChannel(const std::string& address, const Access& access);

}  // namespace pglessor::internal
