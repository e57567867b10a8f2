// grpc.health.v1.Health: what the server says of itself and of each of its services. Whoever asks is
// answered.
//
// On the one queue, and not gRPC's own: that is served by the callback API, whose two threads then wait for
// the events of all calls beside ours (docs/decisions/0013).
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <string>
#include <unordered_set>

#include "grpc/health/v1/health.grpc.pb.h"

#include "server/rpc/call.h"
#include "server/rpc/services.h"

namespace pglessor::rpc {

class Health : public Service {
 public:
  using Response = grpc::health::v1::HealthCheckResponse;
  class Watch;

  Health();

  grpc::Service& service() override { return async_; }
  void Serve(CallQueue& queue, const Backend& backend) override;

  // Threads: any.
  void SetServing(bool serving);
  // Watches end. Threads: any.
  void Close();

 private:
  using CheckCall = UnaryCall<grpc::health::v1::HealthCheckRequest, Response>;
  class Ring;

  // SERVICE_UNKNOWN if it is none of ours.
  Response::ServingStatus StatusOf(const std::string& service) const;
  void Check(CheckCall& call) const;
  void TellWatches();

  grpc::health::v1::Health::AsyncService async_;
  CheckCall::Method check_;
  CallQueue* queue_ = nullptr;  // null until it serves
  std::atomic<bool> serving_{false};
  std::atomic<bool> closed_{false};
  std::unordered_set<Watch*> watches_;  // the queue's thread's; each leaves when it is over
};

}  // namespace pglessor::rpc
