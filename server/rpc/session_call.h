// One Session: a lease bound to a stream, and the requests that run on it one after the other.
//
//   read ──► queue ──► current ──► ready ──► written
//
// Requests are queued as they come, and the next one starts when the one before it is answered and few
// answers stand unread. `renew` and `cancel` are acted on as they are read. Reading stops while enough is
// queued or unread: so neither a fast sender nor a slow reader fills this process's memory.
//
// The stream's end ends the lease: behind what is queued if the client closes it, at once if it is lost.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "pglessor/v1/sql_service.grpc.pb.h"
#include "server/core/lessor.h"
#include "server/core/mutex.h"
#include "server/core/statement.h"
#include "server/rpc/call.h"
#include "server/rpc/result_batches.h"

namespace pglessor::rpc {

// Threads: the sink's members come on the strand, grants and ends of leases on any thread, the call's on the
//   queue's thread; the mutex is between them, and it is not held over a call into the core. Whichever of
//   them answers a request starts the next.
class SessionCall : public Call, public core::StatementSink {
 public:
  // Of messages as session_message.h reads and writes them.
  using Stream = grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;
  struct Method {
    std::function<void(grpc::ServerContext*, Stream*, grpc::ServerCompletionQueue*, void*)> listen;
    core::Lessor& lessor;
  };

  // `method` outlives all its calls.
  SessionCall(CallQueue& queue, const Method& method);
  static void Serve(CallQueue& queue, const Method& method);

  void OnColumns(std::vector<core::Column> columns) override;
  Flow OnRow(core::Row row) override;
  void OnEnd(core::StatementEnd end) override;

 protected:
  void Listen(void* tag) override;
  void ListenAgain() override { Serve(queue(), method_); }
  // The stream's requests come later: who may open it is decided without them.
  const google::protobuf::Message& Asked() const override { return v1::SessionRequest::default_instance(); }
  void Refuse(const grpc::Status& why) override;
  void OnRequest() override;
  void OnRead(bool ok) override;
  void OnWritten(bool ok) override;
  void OnDone(bool delivered) override;

 private:
  // What is to be done in turn: a request, or behind the last of them the stream's end.
  struct Turn {
    v1::SessionRequest request;
    size_t bytes = 0;
    absl::Status fault = {};  // it cannot be parsed: of `request` there is the id at most
    bool cancelled = false;
    bool ends_stream = false;
  };
  // The turn that has begun and is not answered.
  struct Current {
    int64_t id = 0;
    bool acquires = false;
    bool cancelled = false;
    bool abandoned = false;  // a row was too large
    bool rows_dropped = false;
    std::optional<core::Lessor::Running> running = {};
  };

  std::shared_ptr<SessionCall> Self() { return std::static_pointer_cast<SessionCall>(shared_from_this()); }

  static Turn TurnOf(grpc::ByteBuffer& message);
  // What a request that was cancelled is answered.
  static absl::Status Cancelled();
  // Starts what may start.
  void Advance();
  std::optional<Turn> NextTurn();
  void Begin(const Turn& turn);
  absl::Status Acquire(const v1::AcquireRequest& request);
  void OnAcquired(const absl::StatusOr<core::LeaseView>& lease);
  void OnLeaseEnded(const core::LeaseView& lease);
  absl::Status Execute(const v1::ExecuteRequest& request);
  absl::Status Release(const v1::ReleaseRequest& request);
  void EndStream();

  // What is acted on as it is read.
  void Renew(const v1::SessionRequest& request);
  absl::StatusOr<core::LeaseView> RenewLease(const v1::RenewRequest& request);
  void Cancel(int64_t id);

  absl::StatusOr<core::LeaseCounter> StreamsLease();
  // Answers the current request, with its last message, and goes on to the next.
  void Answer(v1::SessionResponse response);
  void Fail(const absl::Status& status);
  void TurnIsOver();
  void CancelStatement();

  // The statement that paused, once it may go on.
  std::optional<core::Lessor::Running> ToResume() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Tell writes it; what is only ready is written with what comes behind it.
  void Tell(v1::SessionResponse&& response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Ready(v1::SessionResponse&& response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ResultReady(v1::ExecuteResponse&& part) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Method& method_;
  Stream stream_;
  grpc::ByteBuffer message_;  // that is being read

  core::Mutex mutex_;
  std::deque<Turn> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<Current> current_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::SessionResponse> ready_ ABSL_GUARDED_BY(mutex_);
  std::optional<core::LeaseCounter> lease_ ABSL_GUARDED_BY(mutex_);
  core::Lessor::AttemptRef attempt_ ABSL_GUARDED_BY(mutex_);  // the last one; null while it is being made
  std::optional<ResultBatches> batches_ ABSL_GUARDED_BY(mutex_);
  bool advancing_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool headers_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;  // nothing more is read: the stream's end is queued
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;    // the client
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace pglessor::rpc
