// `pglessor probe`: one health check, for containers and orchestrators.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/status.h"

namespace pglessor::rpc {

// OK if the server at `address` ("host:port" or "unix:path") says SERVING within `timeout`.
absl::Status Probe(const std::string& address, std::chrono::milliseconds timeout);

}  // namespace pglessor::rpc
