// The client's one background thread: timers, and calls that nobody waits for.
//
// It blocks in one place only, on the completion queue that its calls answer on; what it runs must not block.
//
// Threads: any may call. Timers and answers run on the background thread, with no lock held.
// Owns: the thread, from Create to Stop. Bounds: a timer for each lease, and at most two calls (renew and
// release) in flight for each.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/status/statusor.h"

#include "client/internal/mutex.h"
#include "client/internal/time.h"

namespace pglessor::internal {

class Background {
 public:
  // Names one timer for as long as anybody likes; chosen by NewTimer.
  using TimerId = uint64_t;
  enum class Wake { kDue, kStopping };
  using OnWake = std::function<void(Wake)>;

  // Fails with: RESOURCE_EXHAUSTED, no thread to be had.
  static absl::StatusOr<std::shared_ptr<Background>> Create();
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  TimerId NewTimer();
  // Runs `on_wake` once: when it is `due`, or when Stop is called before that. Replaces what was set under
  // this id. After Stop it does nothing.
  void SetTimer(TimerId id, Time due, OnWake on_wake);
  // It will not begin to run any more.
  void CancelTimer(TimerId id);

  // Starts a unary call and returns at once; `done` runs when it has ended. `prepare` makes it, from a
  // context and a queue: [&](auto* context, auto* queue) { return stub.PrepareAsyncRenew(context, request,
  // queue); }. False, and nothing is started, after Stop.
  template <typename Response, typename Prepare>
  bool Start(Duration timeout, const Prepare& prepare,
             std::function<void(const grpc::Status&, const Response&)> done) {
    if (!Begin()) return false;
    auto call = std::make_unique<Call<Response>>(std::move(done));
    // Where the connection is being made again, it waits for it as long as it may.
    call->context.set_wait_for_ready(true);
    call->context.set_deadline(DeadlineIn(timeout));
    call->reader = prepare(&call->context, &queue_);
    call->reader->StartCall();
    // Its end may come before Finish has returned: the call belongs to the background thread from here on.
    Call<Response>* const started = call.release();
    started->reader->Finish(&started->response, &started->status, static_cast<Event*>(started));
    return true;
  }

  // Wakes all timers with kStopping, and returns when they have run and every call has ended. Not from the
  // background thread. Once.
  void Stop();

  // As gRPC wants it; for as long as there is, no deadline.
  static std::chrono::system_clock::time_point DeadlineIn(Duration timeout);

 private:
  // What the completion queue's tags point to.
  struct Event {
    virtual ~Event() = default;
    virtual void Happened() = 0;
  };
  struct Woken : Event {
    explicit Woken(Background& background) : background(background) {}
    void Happened() override;
    Background& background;
    grpc::Alarm alarm;
  };
  template <typename Response>
  struct Call : Event {
    explicit Call(std::function<void(const grpc::Status&, const Response&)> done) : done(std::move(done)) {}
    void Happened() override { done(status, response); }
    std::function<void(const grpc::Status&, const Response&)> done;
    grpc::ClientContext context;
    Response response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
  };
  struct Timer {
    Time due;
    OnWake on_wake;
  };

  Background() = default;

  void Run();
  void RunTimers();
  // Counts an event that is going to arrive on the queue; false after Stop.
  bool Begin();
  void End();
  // Lets the thread look at timers_ again.
  void WakeThread();

  grpc::CompletionQueue queue_;  // shut down when nothing is going to arrive on it any more
  std::thread thread_;

  Mutex mutex_;
  std::unordered_map<TimerId, Timer> timers_ ABSL_GUARDED_BY(mutex_);
  std::multimap<Time, TimerId> due_ ABSL_GUARDED_BY(mutex_);  // an entry for each of timers_
  TimerId last_timer_ ABSL_GUARDED_BY(mutex_) = 0;
  int arriving_ ABSL_GUARDED_BY(mutex_) = 0;
  bool waking_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;  // nothing may be started any more
};

}  // namespace pglessor::internal
