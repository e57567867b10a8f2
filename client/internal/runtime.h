// What one Client is made of, at an address of its own, so that the Client can be moved.
//
// Threads: any may call Acquire.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "client/internal/access.h"
#include "client/internal/answer.h"
#include "client/internal/background.h"
#include "client/internal/held_lease.h"
#include "client/internal/replica.h"
#include "client/internal/session_stream.h"
#include "pglessor/client.h"

namespace pglessor::internal {

class Runtime {
 public:
  Runtime(ClientOptions options, Access access, std::shared_ptr<Background> background)
      : options_(std::move(options)),
        background_(std::move(background)),
        replicas_(options_.address, std::move(access)) {}
  // Ends the leases that live, and the thread.
  ~Runtime() { background_->Stop(); }
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  absl::StatusOr<std::shared_ptr<HeldLease>> Acquire(const AcquireOptions& given);

  // Runs it on a lease that lives no longer.
  absl::StatusOr<Summary> Once(const Statement& statement, const AcquireOptions& given, EachRow each_row);

  std::unique_ptr<SessionStream> NewSession();

 private:
  // Renews the lease, to learn from when its ttl counts.
  absl::StatusOr<LeaseTerm::Promise> Renewed(Replica& replica, const std::string& lease_token);

  const ClientOptions options_;
  const std::shared_ptr<Background> background_;  // shared with leases that outlive the client
  Replicas replicas_;
};

}  // namespace pglessor::internal
