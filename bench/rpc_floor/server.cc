// Serves floor.proto with nothing behind it, by either of gRPC's asynchronous arrangements, so that
// they can be compared and later services measured against the better one.
//
// An answer is completed where the request arrived (--complete=inline) or by a second thread
// (--complete=other-thread), as when a waiting Acquire is granted by whoever released the
// connection. With --hold_ms every answer waits that long first; no arrangement keeps a thread for
// it.
//
// Prints "listening PORT" and serves until its standard input ends, so that it never outlives the
// script that started it.

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <latch>
#include <memory>
#include <string>
#include <thread>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"

#include "completer.h"
#include "floor.grpc.pb.h"

ABSL_FLAG(std::string, api, "cq", "cq (one queue, one thread) or callback");
ABSL_FLAG(std::string, listen, "127.0.0.1:0", "address; port 0 picks one");
ABSL_FLAG(std::string, complete, "inline", "inline or other-thread");
ABSL_FLAG(int, hold_ms, 0, "answer after this time; needs other-thread");
ABSL_FLAG(bool, watch_cancel, false, "learn of each Acquire's cancellation, as a real one must");

namespace pglessor::bench {
namespace {

void Grant(AcquireResponse& response) {
  response.set_lease_id("replica-1.6f1c2a9e.1048576");
  response.set_lease_token(std::string(120, 't'));
  response.set_fencing_token(int64_t{1} << 40);
}

// --- One completion queue, one thread ---------------------------------------

// What the queue's tags point to. Only the queue's thread calls Happened and deletes; while an
// operation is out, no other thread touches the object once it has started that operation, for its
// tag may arrive at once.
class Event {
 public:
  virtual ~Event() = default;
  virtual void Happened(bool ok) = 0;
};

struct CqFloor {
  Floor::AsyncService service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  Completer& completer;
  bool watch_cancel;
  int calls = 0;  // Of the queue's thread, once that runs.
  std::latch calls_gone{1};
};

// One call, or a place for one that is still to arrive. As long as the server accepts calls there
// is a place for each kind, so the last to go goes during or after the server's shutdown.
class CqCall : public Event {
 public:
  explicit CqCall(CqFloor& floor) : floor_(floor) { ++floor_.calls; }
  ~CqCall() override {
    if (--floor_.calls == 0) floor_.calls_gone.count_down();
  }

 protected:
  CqFloor& floor_;
};

class CqAcquire final : public CqCall {
 public:
  explicit CqAcquire(CqFloor& floor) : CqCall(floor) {
    if (floor_.watch_cancel) context_.AsyncNotifyWhenDone(&done_);
    floor_.service.RequestAcquire(&context_, &request_, &writer_, floor_.queue.get(), floor_.queue.get(),
                                  this);
  }

  void Happened(bool ok) override {
    if (finishing_) return Ended();
    if (!ok) {  // Shutting down. No call began, so `done_` never arrives.
      delete this;
      return;
    }
    new CqAcquire(floor_);
    finishing_ = true;
    pending_ = floor_.watch_cancel ? 2 : 1;
    floor_.completer.Complete([this] {
      Grant(response_);
      writer_.Finish(response_, grpc::Status::OK, this);
    });
  }

 private:
  // Arrives when the call has ended; context_.IsCancelled() then says how.
  struct Done final : Event {
    explicit Done(CqAcquire& call) : call(call) {}
    void Happened(bool) override { call.Ended(); }
    CqAcquire& call;
  };

  void Ended() {
    if (--pending_ == 0) delete this;
  }

  Done done_{*this};
  grpc::ServerContext context_;
  AcquireRequest request_;
  AcquireResponse response_;
  grpc::ServerAsyncResponseWriter<AcquireResponse> writer_{&context_};
  bool finishing_ = false;
  int pending_ = 0;  // Tags still to come after the request's.
};

class CqSession final : public CqCall {
 public:
  explicit CqSession(CqFloor& floor) : CqCall(floor) {
    floor_.service.RequestSession(&context_, &stream_, floor_.queue.get(), floor_.queue.get(), this);
  }

  void Happened(bool ok) override {
    switch (state_) {
      case State::kArriving:
        if (!ok) break;
        new CqSession(floor_);
        return Read();
      case State::kReading:
        return ok ? Answer() : Finish();
      case State::kWriting:
        return ok ? Read() : Finish();
      case State::kFinishing:
        break;
    }
    delete this;
  }

 private:
  enum class State { kArriving, kReading, kWriting, kFinishing };

  void Read() {
    state_ = State::kReading;
    stream_.Read(&ping_, this);
  }

  void Answer() {
    state_ = State::kWriting;
    floor_.completer.Complete([this] {
      pong_.set_row(ping_.statement());
      stream_.Write(pong_, this);
    });
  }

  void Finish() {
    state_ = State::kFinishing;
    stream_.Finish(grpc::Status::OK, this);
  }

  grpc::ServerContext context_;
  Ping ping_;
  Pong pong_;
  grpc::ServerAsyncReaderWriter<Pong, Ping> stream_{&context_};
  State state_ = State::kArriving;
};

// --- Callbacks, on gRPC's own threads ----------------------------------------

class WatchingReactor final : public grpc::ServerUnaryReactor {
  void OnCancel() override {}
  void OnDone() override { delete this; }
};

class SessionReactor final : public grpc::ServerBidiReactor<Ping, Pong> {
 public:
  explicit SessionReactor(Completer& completer) : completer_(completer) { StartRead(&ping_); }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    completer_.Complete([this] {
      pong_.set_row(ping_.statement());
      StartWrite(&pong_);
    });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&ping_);
  }

  void OnDone() override { delete this; }

 private:
  Completer& completer_;
  Ping ping_;
  Pong pong_;
};

class CallbackFloor final : public Floor::CallbackService {
 public:
  CallbackFloor(Completer& completer, bool watch_cancel)
      : completer_(completer), watch_cancel_(watch_cancel) {}

  grpc::ServerUnaryReactor* Acquire(grpc::CallbackServerContext* context, const AcquireRequest*,
                                    AcquireResponse* response) override {
    grpc::ServerUnaryReactor* reactor = watch_cancel_ ? new WatchingReactor : context->DefaultReactor();
    completer_.Complete([reactor, response] {
      Grant(*response);
      reactor->Finish(grpc::Status::OK);
    });
    return reactor;
  }

  grpc::ServerBidiReactor<Ping, Pong>* Session(grpc::CallbackServerContext*) override {
    return new SessionReactor(completer_);
  }

 private:
  Completer& completer_;
  const bool watch_cancel_;
};

// --- Start and end ------------------------------------------------------------

std::unique_ptr<grpc::Server> Listen(grpc::ServerBuilder& builder, grpc::Service& service) {
  int port = 0;
  builder.AddListeningPort(absl::GetFlag(FLAGS_listen), grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server != nullptr) std::cout << "listening " << port << std::endl;
  return server;
}

void ServeUntilInputEnds(grpc::Server& server) {
  while (std::cin.get() != std::istream::traits_type::eof()) {
  }
  server.Shutdown(std::chrono::system_clock::now());
}

bool ServeByQueue(Completer& completer, bool watch_cancel) {
  grpc::ServerBuilder builder;
  CqFloor floor{.service = {},
                .queue = builder.AddCompletionQueue(),
                .completer = completer,
                .watch_cancel = watch_cancel};
  const std::unique_ptr<grpc::Server> server = Listen(builder, floor.service);
  if (server == nullptr) return false;
  new CqAcquire(floor);
  new CqSession(floor);
  std::thread thread([&floor] {
    void* tag = nullptr;
    bool ok = false;
    while (floor.queue->Next(&tag, &ok)) static_cast<Event*>(tag)->Happened(ok);
  });
  ServeUntilInputEnds(*server);
  // Calls that the shutdown broke off have yet to finish, and need the queue for it.
  floor.calls_gone.wait();
  floor.queue->Shutdown();
  thread.join();
  return true;
}

bool ServeByCallback(Completer& completer, bool watch_cancel) {
  grpc::ServerBuilder builder;
  CallbackFloor floor(completer, watch_cancel);
  const std::unique_ptr<grpc::Server> server = Listen(builder, floor);
  if (server == nullptr) return false;
  ServeUntilInputEnds(*server);
  return true;
}

int Main() {
  const std::string api = absl::GetFlag(FLAGS_api);
  const std::string complete = absl::GetFlag(FLAGS_complete);
  const int hold_ms = absl::GetFlag(FLAGS_hold_ms);
  const bool is_inline = complete == "inline";
  if ((api != "cq" && api != "callback") || (!is_inline && complete != "other-thread") ||
      (is_inline && hold_ms > 0)) {
    std::cerr << "bad --api, --complete or --hold_ms; see --help\n";
    return 2;
  }

  Completer completer(is_inline ? Completer::Where::kInline : Completer::Where::kOtherThread,
                      std::chrono::milliseconds(hold_ms));
  std::thread other([&completer] { completer.Run(); });
  const bool watch_cancel = absl::GetFlag(FLAGS_watch_cancel);
  const bool served =
      api == "cq" ? ServeByQueue(completer, watch_cancel) : ServeByCallback(completer, watch_cancel);
  completer.Stop();
  other.join();
  return served ? 0 : 1;
}

}  // namespace
}  // namespace pglessor::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return pglessor::bench::Main();
}
