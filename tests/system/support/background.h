// A call that another thread waits for, so that the test can do something meanwhile.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "tests/system/support/client.h"
#include "tests/system/support/eventually.h"

namespace pglessor::system {

// Threads: used by one at a time. The destructor waits for the call's end; `client` outlives that.
template <typename Answered>
class Background {
 public:
  // `call` is given the context to call with.
  template <typename Call>
  explicit Background(Call call)
      : context_(Client::NewContext()),
        answer_(std::async(std::launch::async,
                           [call = std::move(call), this] { return call(context_.get()); })) {}

  void Cancel() { context_->TryCancel(); }
  bool Done() const { return answer_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }
  Answered Get() { return answer_.get(); }

 private:
  Client::Context context_;
  std::future<Answered> answer_;
};

using BackgroundStatement = Background<Result>;
using BackgroundAcquire = Background<Answer<v1::AcquireResponse>>;

inline std::unique_ptr<BackgroundStatement> StartExecute(Client& client, v1::ExecuteRequest request) {
  return std::make_unique<BackgroundStatement>(
      [&client, request = std::move(request)](grpc::ClientContext* context) {
        return client.Execute(request, context);
      });
}

inline std::unique_ptr<BackgroundAcquire> StartAcquire(Client& client, v1::AcquireRequest request = {}) {
  return std::make_unique<BackgroundAcquire>(
      [&client, request = std::move(request)](grpc::ClientContext* context) {
        return client.Acquire(request, context);
      });
}

}  // namespace pglessor::system
