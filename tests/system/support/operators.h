// An operator: one function for each RPC of OperatorService, as Client has for callers.
//
// Threads: any.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "pglessor/v1/operator_service.grpc.pb.h"
#include "tests/system/support/client.h"
#include "tests/system/support/outcome.h"

namespace pglessor::system {

// A watch that stands, read by the test.
//
// Threads: used by one at a time, but for Cancel. Its end, at the latest, cancels it.
class EventStream {
 public:
  // Returns when the headers are there: what happens from now on is in the stream.
  EventStream(v1::OperatorService::Stub& stub, const v1::WatchEventsRequest& request)
      : reader_(stub.WatchEvents(context_.get(), request)) {
    reader_->WaitForInitialMetadata();
  }
  ~EventStream() {
    Cancel();
    if (!ended_) reader_->Finish();
  }
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  // The next event; nothing once the stream has ended.
  std::optional<v1::Event> Next() {
    v1::WatchEventsResponse message;
    if (!reader_->Read(&message)) return std::nullopt;
    return message.event();
  }
  // All of them up to the first of this type, which must come, and it included.
  std::vector<v1::Event> Until(v1::EventType type) {
    std::vector<v1::Event> events;
    while (std::optional<v1::Event> event = Next()) {
      events.push_back(*event);
      if (event->type() == type) return events;
    }
    ADD_FAILURE() << "the stream ended before " << v1::EventType_Name(type);
    return events;
  }
  void Cancel() { context_->TryCancel(); }
  // How it ended. Requires: Next has returned nothing. Once.
  Outcome End() {
    ended_ = true;
    return OutcomeOf(reader_->Finish());
  }

 private:
  bool ended_ = false;
  const Client::Context context_ = Client::NewContext();
  const std::unique_ptr<grpc::ClientReader<v1::WatchEventsResponse>> reader_;
};

class Operators {
 public:
  using Stub = v1::OperatorService::Stub;

  explicit Operators(const Client& client) : Operators(client.channel()) {}
  explicit Operators(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::OperatorService::NewStub(channel)) {}

  Answer<v1::ListLeasesResponse> ListLeases(const v1::ListLeasesRequest& request = {}) {
    return Call(&Stub::ListLeases, request);
  }
  Answer<v1::ListConnectionsResponse> ListConnections(const v1::ListConnectionsRequest& request = {}) {
    return Call(&Stub::ListConnections, request);
  }
  Answer<v1::PausePoolResponse> PausePool(const std::string& pool, const std::string& reason = "") {
    v1::PausePoolRequest request;
    request.set_pool(pool);
    request.set_reason(reason);
    return Call(&Stub::PausePool, request);
  }
  Answer<v1::ResumePoolResponse> ResumePool(const std::string& pool) {
    v1::ResumePoolRequest request;
    request.set_pool(pool);
    return Call(&Stub::ResumePool, request);
  }
  Answer<v1::UpdatePoolResponse> UpdatePool(const v1::UpdatePoolRequest& request) {
    return Call(&Stub::UpdatePool, request);
  }
  Answer<v1::DrainResponse> Drain(const v1::DrainRequest& request = {}) {
    return Call(&Stub::Drain, request);
  }
  Answer<v1::DrainResponse> Drain(std::chrono::nanoseconds timeout) {
    v1::DrainRequest request;
    *request.mutable_timeout() = Span(timeout);
    return Drain(request);
  }
  Answer<v1::InjectFaultResponse> InjectFault(const v1::InjectFaultRequest& request) {
    return Call(&Stub::InjectFault, request);
  }
  std::unique_ptr<EventStream> Watch(const v1::WatchEventsRequest& request = {}) {
    return std::make_unique<EventStream>(*stub_, request);
  }
  // How a watch ends that never stands.
  Outcome WatchInVain(const v1::WatchEventsRequest& request) {
    const Client::Context context = Client::NewContext();
    const auto reader = stub_->WatchEvents(context.get(), request);
    v1::WatchEventsResponse message;
    EXPECT_FALSE(reader->Read(&message));
    return OutcomeOf(reader->Finish());
  }

 private:
  template <typename Request, typename Response>
  Answer<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                        const Request& request) {
    const Client::Context context = Client::NewContext();
    Answer<Response> answer;
    const grpc::Status status = (stub_.get()->*method)(context.get(), request, &answer.response);
    static_cast<Outcome&>(answer) = OutcomeOf(status);
    return answer;
  }

  std::unique_ptr<Stub> stub_;
};

}  // namespace pglessor::system
