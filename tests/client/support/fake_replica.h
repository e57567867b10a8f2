// A server that answers as the test says, and counts.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

#include "pglessor/v1/lease_service.grpc.pb.h"
#include "pglessor/v1/sql_service.grpc.pb.h"

namespace pglessor {

// Threads: the hooks are set before the first call, and run on gRPC's threads.
class FakeReplica : public v1::LeaseService::Service, public v1::SqlService::Service {
 public:
  FakeReplica() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(static_cast<v1::LeaseService::Service*>(this));
    builder.RegisterService(static_cast<v1::SqlService::Service*>(this));
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }
  ~FakeReplica() override { server_->Shutdown(std::chrono::system_clock::now()); }

  const std::string& address() const { return address_; }

  // The lease that it gives and renews.
  v1::Lease lease;
  std::function<void(const v1::AcquireRequest&)> on_acquire = [](const auto&) {};
  // Its argument counts from 1.
  std::function<grpc::Status(int)> on_renew = [](int) { return grpc::Status::OK; };

  std::atomic<int> acquires = 0;
  std::atomic<int> renewals = 0;
  std::atomic<int> releases = 0;
  std::atomic<int> statements = 0;

 private:
  grpc::Status Acquire(grpc::ServerContext* /*context*/, const v1::AcquireRequest* request,
                       v1::AcquireResponse* response) override {
    ++acquires;
    on_acquire(*request);
    *response->mutable_lease() = lease;
    response->set_lease_token("token");
    return grpc::Status::OK;
  }
  grpc::Status Renew(grpc::ServerContext* /*context*/, const v1::RenewRequest* /*request*/,
                     v1::RenewResponse* response) override {
    *response->mutable_lease() = lease;
    return on_renew(++renewals);
  }
  grpc::Status Release(grpc::ServerContext* /*context*/, const v1::ReleaseRequest* /*request*/,
                       v1::ReleaseResponse* /*response*/) override {
    ++releases;
    return grpc::Status::OK;
  }
  // Ends well, before it has answered anything.
  grpc::Status Session(grpc::ServerContext* /*context*/,
                       grpc::ServerReaderWriter<v1::SessionResponse, v1::SessionRequest>* stream) override {
    v1::SessionRequest request;
    stream->Read(&request);
    return grpc::Status::OK;
  }
  grpc::Status Execute(grpc::ServerContext* /*context*/, const v1::ExecuteRequest* /*request*/,
                       grpc::ServerWriter<v1::ExecuteResponse>* writer) override {
    ++statements;
    v1::ExecuteResponse part;
    part.mutable_summary()->set_command_tag("SELECT 0");
    writer->Write(part);
    return grpc::Status::OK;
  }

  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace pglessor
