// The servers that this client talks to: one connection for each address.
//
// Threads: any.
#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "client/internal/access.h"
#include "client/internal/mutex.h"
#include "pglessor/v1/lease_service.grpc.pb.h"
#include "pglessor/v1/sql_service.grpc.pb.h"

namespace pglessor::internal {

// One server. Shared by all leases that it granted. Stubs may be called from any thread.
struct Replica {
  Replica(const std::string& address, const Access& access);

  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::LeaseService::Stub> leases;
  const std::unique_ptr<v1::SqlService::Stub> sql;
};

class Replicas {
 public:
  // All of them are spoken to in the same way.
  Replicas(const std::string& home, Access access)
      : home_address_(home), access_(std::move(access)), home_(std::make_shared<Replica>(home, access_)) {}

  // The one that the client was created with, where leases are acquired.
  const std::shared_ptr<Replica>& home() const { return home_; }
  // The one at `address`, which a lease names; home where that is empty or home's own.
  std::shared_ptr<Replica> At(const std::string& address);

 private:
  const std::string home_address_;
  const Access access_;
  const std::shared_ptr<Replica> home_;

  Mutex mutex_;
  // Kept while there are few, so that the next lease finds its connection warm.
  std::map<std::string, std::shared_ptr<Replica>> others_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pglessor::internal
