// `pglessor probe`: one health check, for containers and orchestrators.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/status.h"

namespace pglessor::rpc {

struct ProbeTarget {
  std::string address;  // "host:port" or "unix:path"
  // Of the authority of the server's certificate, in PEM; empty = it is spoken to in plain text. Who answers
  // is asked for its health and given nothing, so its name is not checked: a probe goes to 127.0.0.1, and
  // certificates are for the name that others use.
  std::string tls_ca = {};
};

// OK if the server says SERVING within `timeout`.
absl::Status Probe(const ProbeTarget& target, std::chrono::milliseconds timeout);

}  // namespace pglessor::rpc
