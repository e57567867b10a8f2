// WatchEvents: what happens, as a stream of messages, no faster than each reader takes it.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <optional>
#include <unordered_set>

#include "pglessor/v1/operator_service.grpc.pb.h"
#include "server/core/event_history.h"
#include "server/core/lessor.h"
#include "server/rpc/call.h"

namespace pglessor::rpc {

class WatchCall;

// All watches that stand on one queue. Whoever emits an event only sets an alarm, one for all of them: the
// queue's thread reads the history and writes.
//
// Threads: the queue's, but for the alarm.
class Watches : public Event {
 public:
  // Both outlive it; the history is woken by nobody else.
  Watches(CallQueue& queue, core::EventHistory& history);

  void Join(WatchCall& call);
  void Leave(WatchCall& call) { calls_.erase(&call); }
  core::EventHistory& history() { return history_; }

  // Something has.
  void Happened(bool ok) override;

 private:
  void Arm();

  CallQueue& queue_;
  core::EventHistory& history_;
  grpc::Alarm alarm_;
  bool armed_ = false;
  std::unordered_set<WatchCall*> calls_;  // each leaves when it is over
};

// One watch. Threads: the queue's.
class WatchCall : public Call {
 public:
  using Writer = grpc::ServerAsyncWriter<v1::WatchEventsResponse>;
  struct Method {
    std::function<void(grpc::ServerContext*, v1::WatchEventsRequest*, Writer*, grpc::ServerCompletionQueue*,
                       void*)>
        listen;
    core::Lessor& lessor;
    Watches& watches;
  };

  // `method` outlives all its calls.
  WatchCall(CallQueue& queue, const Method& method) : Call(queue), method_(method), writer_(&context()) {}
  static void Serve(CallQueue& queue, const Method& method);

  // Writes the next event, unless one is being written, or there is none.
  void Continue();

 protected:
  void Listen(void* tag) override;
  void ListenAgain() override { Serve(queue(), method_); }
  const google::protobuf::Message& Asked() const override { return request_; }
  void Refuse(const grpc::Status& why) override;
  void OnRequest() override;
  void OnWritten(bool ok) override;
  void OnDone(bool delivered) override;

 private:
  absl::Status Begin();

  const Method& method_;
  v1::WatchEventsRequest request_;
  Writer writer_;
  std::optional<core::EventWatch> watch_;
  bool writing_ = false;
  bool over_ = false;  // finished, or broken off by its caller
};

}  // namespace pglessor::rpc
