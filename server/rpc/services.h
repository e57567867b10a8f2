// The services: every RPC of proto/pglessor/v1, each bound to what answers it.
//
// Threads: Serve once, before the queue's thread starts. It outlives that thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "server/rpc/backend.h"
#include "server/rpc/call.h"

namespace pglessor::rpc {

class Service {
 public:
  virtual ~Service() = default;
  // For ServerBuilder::RegisterService.
  virtual grpc::Service& service() = 0;
  // Listens for each of its methods. The server must have been started; `backend` outlives the queue.
  virtual void Serve(CallQueue& queue, const Backend& backend) = 0;
};

std::unique_ptr<Service> MakeLeaseService(std::string version);
std::unique_ptr<Service> MakeSqlService();
std::unique_ptr<Service> MakeOperatorService();

}  // namespace pglessor::rpc
