// RPCs on one completion queue: what a unary call, a stream of answers, and a refusal have in common.
//
// One thread waits on the queue. A call that waits for a lease or a statement is an object and no thread;
// whoever has its answer, on whatever thread, finishes it.
//
// A call's life: it listens for a request; one comes, another call is put in its place to listen; whoever
// calls is let in, and the handler runs, or is refused; somebody finishes it; gRPC tells that it is done
// (answered, or the caller has gone). Its operations each hold a reference, so it lives as long as any is
// under way.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"

#include "server/rpc/admission.h"
#include "server/rpc/caller.h"
#include "server/rpc/status.h"

namespace pglessor::rpc {

// What comes out of the queue.
class Event {
 public:
  virtual ~Event() = default;
  virtual void Happened(bool ok) = 0;
};

// The queue, the door before it, how many calls are under way, and how many objects there are: those, and
// the ones that listen.
struct CallQueue {
  explicit CallQueue(const Admission& door) : admission(door) {}

  const Admission& admission;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  std::atomic<int32_t> open_calls{0};
  std::atomic<int32_t> objects{0};

  // The calling thread becomes the one that waits, until the queue has been shut down and is empty.
  void Run() {
    void* tag = nullptr;
    bool ok = false;
    while (queue->Next(&tag, &ok)) static_cast<Event*>(tag)->Happened(ok);
  }
};

// Who may call: whom the table of roles lets in, or anybody, who then is not asked who he is.
enum class Door { kGuarded, kOpen };

// How a message of a stream is written: at once, or with the next one, which `more_follows` promises: that
// costs the connection one system call, and the reader one wake-up. Never the first message of a call, which
// takes the headers along: gRPC 1.51 says that it is written only once the connection has something else to
// write (40 to 300 ms).
inline grpc::WriteOptions FlushUnless(bool more_follows) {
  grpc::WriteOptions options;
  if (more_follows) options.set_buffer_hint();
  return options;
}

// What all calls share: their context, the events, and the way from listening to done.
// Threads: OnRequest, OnRead, OnWritten and OnDone run on the queue's thread.
class Call : public std::enable_shared_from_this<Call> {
 public:
  explicit Call(CallQueue& queue, Door door = Door::kGuarded) : queue_(queue), door_(door) {
    ++queue_.objects;
    context_.AsyncNotifyWhenDone(&done_);
  }
  virtual ~Call() { --queue_.objects; }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Who calls. Requires: it was let in through a guarded door, so that OnRequest was called.
  const Caller& caller() const { return *caller_; }

  void Start() {
    received_.Hold(shared_from_this());
    done_.Hold(shared_from_this());
    Listen(&received_);
  }

 protected:
  // An event that keeps its call alive until it has happened.
  class Step : public Event {
   public:
    Step(Call& call, void (Call::*next)(bool)) : call_(call), next_(next) {}

    void Hold(std::shared_ptr<Call> call) { alive_ = std::move(call); }
    void Happened(bool ok) override {
      const std::shared_ptr<Call> alive = std::move(alive_);
      (call_.*next_)(ok);
    }

   private:
    Call& call_;
    void (Call::*const next_)(bool);
    std::shared_ptr<Call> alive_;
  };

  // Asks gRPC for the next request of this method.
  virtual void Listen(void* tag) = 0;
  // Puts another call of this method in this one's place.
  virtual void ListenAgain() = 0;
  // The request, or for a stream of them an empty one: by its type and subject the caller is let in.
  virtual const google::protobuf::Message& Asked() const = 0;
  // Of a caller who was let in.
  virtual void OnRequest() = 0;
  // Answers one who was not.
  virtual void Refuse(const grpc::Status& why) = 0;
  // The call is over. `delivered`: the answer went out whole, as far as gRPC knows.
  virtual void OnDone(bool delivered) = 0;
  virtual void OnRead(bool /*ok*/) {}
  virtual void OnWritten(bool /*ok*/) {}

  grpc::ServerContext& context() { return context_; }
  CallQueue& queue() { return queue_; }
  void* FinishTag() {
    finished_.Hold(shared_from_this());
    return &finished_;
  }
  void* ReadTag() {
    read_.Hold(shared_from_this());
    return &read_;
  }
  void* WriteTag() {
    written_.Hold(shared_from_this());
    return &written_;
  }

 private:
  void Received(bool ok) {
    if (!ok) {
      done_.Hold(nullptr);  // the server is shutting down: no request came, and no "done" will
      return;
    }
    ++queue_.open_calls;
    ListenAgain();
    if (door_ == Door::kGuarded && !LetIn()) return;
    OnRequest();
  }
  bool LetIn() {
    absl::StatusOr<CallerRef> caller = queue_.admission.Admit(context_, Asked());
    if (!caller.ok()) {
      Refuse(ToGrpc(caller.status()));
      return false;
    }
    caller_ = *std::move(caller);
    return true;
  }
  void Done(bool) {
    --queue_.open_calls;
    OnDone(!context_.IsCancelled());
  }
  void Finished(bool) {}
  void HasRead(bool ok) { OnRead(ok); }
  void Written(bool ok) { OnWritten(ok); }

  CallQueue& queue_;
  const Door door_;
  grpc::ServerContext context_;
  CallerRef caller_;  // shared with Identities, and so unchanged by a reload
  Step received_{*this, &Call::Received};
  Step done_{*this, &Call::Done};
  Step finished_{*this, &Call::Finished};
  Step read_{*this, &Call::HasRead};
  Step written_{*this, &Call::Written};
};

// A unary RPC. `Finish` may be called from any thread, once.
template <typename Request, typename Response>
class UnaryCall : public Call {
 public:
  using Responder = grpc::ServerAsyncResponseWriter<Response>;
  struct Method {
    std::function<void(grpc::ServerContext*, Request*, Responder*, grpc::ServerCompletionQueue*, void*)>
        listen;
    std::function<void(std::shared_ptr<UnaryCall>)> handle;
    Door door = Door::kGuarded;
  };

  // `method` is shared by all calls of the method and outlives them.
  UnaryCall(CallQueue& queue, const Method& method)
      : Call(queue, method.door), method_(method), responder_(&context()) {}

  static void Serve(CallQueue& queue, const Method& method) {
    std::make_shared<UnaryCall>(queue, method)->Start();
  }

  const Request& request() const { return request_; }

  // Told on the queue's thread when the call is over. To be set before the handler returns.
  void WhenDone(std::function<void(bool delivered)> done) { when_done_ = std::move(done); }

  void Finish(const Response& response) { responder_.Finish(response, grpc::Status::OK, FinishTag()); }
  void Fail(const grpc::Status& status) { responder_.FinishWithError(status, FinishTag()); }

 protected:
  void Listen(void* tag) override {
    method_.listen(&context(), &request_, &responder_, queue().queue.get(), tag);
  }
  void ListenAgain() override { Serve(queue(), method_); }
  const google::protobuf::Message& Asked() const override { return request_; }
  void Refuse(const grpc::Status& why) override { Fail(why); }
  void OnRequest() override { method_.handle(std::static_pointer_cast<UnaryCall>(shared_from_this())); }
  void OnDone(bool delivered) override {
    if (when_done_) std::exchange(when_done_, nullptr)(delivered);
  }

 private:
  const Method& method_;
  Request request_;
  Responder responder_;
  std::function<void(bool)> when_done_;
};

}  // namespace pglessor::rpc
