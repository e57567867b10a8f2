// The gRPC server: listens, serves every service, health and reflection, and stops in good order.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "server/rpc/backend.h"
#include "server/rpc/identities.h"
#include "server/rpc/identity_options.h"

namespace pglessor::rpc {

struct RpcOptions {
  std::vector<std::string> listen;  // "host:port" or "unix:path"; port 0 picks one
  bool reflection = true;
  std::string version;
  std::vector<IdentityOptions> identities = {};  // none = everybody is anonymous, and may do everything
  TlsOptions tls = {};                           // of all but the unix sockets
};

// Threads: one thread uses it, but for SetServing; it has one of its own, for the completion queue.
class RpcServer {
 public:
  explicit RpcServer(RpcOptions options);
  ~RpcServer();
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  // Requires: CheckTls has found no fault.
  // Takes the addresses; calls that come wait for Serve.
  // Fails with: UNAVAILABLE, with the address that cannot be listened on.
  absl::Status Listen();

  // As they are bound, with the port that 0 became. Requires: it listens.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // Answers calls. Once.
  void Serve(const Backend& backend);

  // From the next call on; calls under way keep who they are.
  void Replace(const std::vector<IdentityOptions>& identities) { identities_.Replace(identities); }

  // What health says of the server and of each service; NOT_SERVING until it is told. Requires: it listens.
  void SetServing(bool serving);

  // Watches end. Other calls under way have until `grace` is over to end; what is left is cut off. Requires:
  // no call waits for the lessor any more, for it is waited for.
  void Stop(std::chrono::milliseconds grace);

 private:
  struct State;

  const RpcOptions options_;
  Identities identities_;
  std::vector<std::string> addresses_;
  std::unique_ptr<State> state_;  // null until it listens
};

}  // namespace pglessor::rpc
