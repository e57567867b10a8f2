// More calls at once than any number of threads could wait for: asynchronous ones, which all end on one
// queue.
//
// Threads: used by one at a time. The destructor cancels what has not ended, and awaits its end.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/system/support/client.h"
#include "tests/system/support/eventually.h"

namespace pglessor::system {

// A stub on a connection of its own, which shares no bound of streams with others.
inline std::unique_ptr<v1::LeaseService::Stub> OnItsOwnConnection(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return v1::LeaseService::NewStub(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
}

template <typename Response>
class Flood {
 public:
  struct Ended {
    size_t number = 0;
    Answer<Response> answer;
  };

  Flood() = default;
  ~Flood() {
    CancelAll();
    queue_.Shutdown();
  }
  Flood(const Flood&) = delete;
  Flood& operator=(const Flood&) = delete;

  // Starts a call, by `begin(context, queue)`: a stub's Async method. Returns the call's number, counted from
  // 0.
  template <typename Begin>
  size_t Start(const Begin& begin) {
    auto call = std::make_unique<Call>();
    call->number = next_number_++;
    call->reader = begin(call->context.get(), &queue_);
    call->reader->Finish(&call->response, &call->status, call.get());
    const size_t number = call->number;
    calls_.emplace(number, std::move(call));
    return number;
  }

  size_t under_way() const { return calls_.size(); }

  // The next that ends, whichever it is; nothing if none does.
  std::optional<Ended> Next() {
    void* tag = nullptr;
    bool ok = false;
    const auto deadline = std::chrono::system_clock::now() + kPatience;
    if (queue_.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) return std::nullopt;
    auto node = calls_.extract(static_cast<Call*>(tag)->number);
    Call& call = *node.mapped();
    return Ended{call.number, {OutcomeOf(call.status), std::move(call.response)}};
  }

  void CancelAll() {
    for (auto& [number, call] : calls_) call->context->TryCancel();
    while (!calls_.empty() && Next().has_value()) continue;
  }

 private:
  struct Call {
    size_t number = 0;
    Client::Context context = Client::NewContext();
    grpc::Status status;
    Response response;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
  };

  grpc::CompletionQueue queue_;
  std::map<size_t, std::unique_ptr<Call>> calls_;
  size_t next_number_ = 0;
};

}  // namespace pglessor::system
