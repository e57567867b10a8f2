#include "server/rpc/health.h"

#include <grpcpp/alarm.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

namespace pglessor::rpc {
namespace {

using grpc::health::v1::HealthCheckRequest;

constexpr const char* kServices[] = {"", "pglessor.v1.LeaseService", "pglessor.v1.SqlService",
                                     "pglessor.v1.OperatorService"};

}  // namespace

// One who watches. Threads: the queue's.
class Health::Watch : public Call {
 public:
  Watch(CallQueue& queue, Health& health) : Call(queue, Door::kOpen), health_(health), writer_(&context()) {}

  // Writes what the service's status has become, unless it is being written.
  void Continue() {
    if (writing_ || over_) return;
    if (health_.closed_) {
      Refuse(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server has shut down"));
      return;
    }
    const Response::ServingStatus status = health_.StatusOf(request_.service());
    if (told_ == status) return;
    told_ = status;
    Response response;
    response.set_status(status);
    writing_ = true;
    writer_.Write(response, WriteTag());
  }

 protected:
  void Listen(void* tag) override {
    grpc::ServerCompletionQueue* const listens_on = queue().queue.get();
    health_.async_.RequestWatch(&context(), &request_, &writer_, listens_on, listens_on, tag);
  }
  void ListenAgain() override { std::make_shared<Watch>(queue(), health_)->Start(); }
  const google::protobuf::Message& Asked() const override { return request_; }
  void Refuse(const grpc::Status& why) override {
    over_ = true;
    writer_.Finish(why, FinishTag());
  }
  void OnRequest() override {
    health_.watches_.insert(this);
    Continue();
  }
  void OnWritten(bool ok) override {
    writing_ = false;
    over_ = over_ || !ok;
    Continue();
  }
  void OnDone(bool) override {
    over_ = true;
    health_.watches_.erase(this);
  }

 private:
  Health& health_;
  HealthCheckRequest request_;
  grpc::ServerAsyncWriter<Response> writer_;
  Response::ServingStatus told_ = Response::UNKNOWN;
  bool writing_ = false;
  bool over_ = false;
};

// Has the queue's thread look at the watches, at once.
class Health::Ring : public Event {
 public:
  explicit Ring(Health& health) : health_(health) {
    ++health_.queue_->objects;  // the queue is not shut down before it has rung
    alarm_.Set(health_.queue_->queue.get(), std::chrono::system_clock::time_point(), this);
  }

  void Happened(bool) override {
    const std::unique_ptr<Ring> rung(this);
    health_.TellWatches();
    --health_.queue_->objects;
  }

 private:
  Health& health_;
  grpc::Alarm alarm_;
};

Health::Health()
    : check_{[this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
               async_.RequestCheck(context, request, responder, queue, queue, tag);
             },
             [this](const std::shared_ptr<CheckCall>& call) { Check(*call); }, Door::kOpen} {}

void Health::Serve(CallQueue& queue, const Backend&) {
  queue_ = &queue;
  CheckCall::Serve(queue, check_);
  std::make_shared<Watch>(queue, *this)->Start();
}

void Health::SetServing(bool serving) {
  serving_ = serving;
  if (queue_ != nullptr) new Ring(*this);  // which deletes itself
}

void Health::Close() {
  closed_ = true;
  if (queue_ != nullptr) new Ring(*this);
}

Health::Response::ServingStatus Health::StatusOf(const std::string& service) const {
  if (std::find(std::begin(kServices), std::end(kServices), service) == std::end(kServices)) {
    return Response::SERVICE_UNKNOWN;
  }
  return serving_ ? Response::SERVING : Response::NOT_SERVING;
}

void Health::Check(CheckCall& call) const {
  Response response;
  response.set_status(StatusOf(call.request().service()));
  if (response.status() == Response::SERVICE_UNKNOWN) {
    call.Fail(grpc::Status(grpc::StatusCode::NOT_FOUND,
                           "no such service; expected pglessor.v1.LeaseService, pglessor.v1.SqlService, "
                           "pglessor.v1.OperatorService, or nothing for the server as a whole"));
  } else {
    call.Finish(response);
  }
}

void Health::TellWatches() {
  for (Watch* const watch : watches_) watch->Continue();
}

}  // namespace pglessor::rpc
