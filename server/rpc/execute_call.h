// One Execute: a statement's rows as a stream of messages, no faster than its reader takes them.
//
// Rows come on the connection's strand and are gathered into batches; one message at a time is under way to
// the caller. When enough stand ready, the connection is asked to pause: so a slow reader slows PostgreSQL,
// and not this process's memory.
//
// With `once` the call has a lease of its own, from before the statement to before the end of the answer.
// Who has the answer therefore finds the lease ended.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstddef>
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

// Threads: the sink's members come on the strand, the grant of a lease on any thread, the call's on the
//   queue's thread; the mutex is between them, and it is not held over a call into the core.
class ExecuteCall : public Call, public core::StatementSink {
 public:
  using Writer = grpc::ServerAsyncWriter<v1::ExecuteResponse>;
  struct Method {
    std::function<void(grpc::ServerContext*, v1::ExecuteRequest*, Writer*, grpc::ServerCompletionQueue*,
                       void*)>
        listen;
    core::Lessor& lessor;
    // Of the statements of `once` that wait for a lease, all together.
    std::shared_ptr<std::atomic<size_t>> waiting_bytes = std::make_shared<std::atomic<size_t>>(0);
  };

  // `method` outlives all its calls.
  ExecuteCall(CallQueue& queue, const Method& method);
  static void Serve(CallQueue& queue, const Method& method);

  void OnColumns(std::vector<core::Column> columns) override;
  Flow OnRow(core::Row row) override;
  void OnEnd(core::StatementEnd end) override;

 protected:
  void Listen(void* tag) override;
  void ListenAgain() override { Serve(queue(), method_); }
  const google::protobuf::Message& Asked() const override { return request_; }
  void Refuse(const grpc::Status& why) override { writer_.Finish(why, FinishTag()); }
  void OnRequest() override;
  void OnWritten(bool ok) override;
  void OnDone(bool delivered) override;

 private:
  std::shared_ptr<ExecuteCall> Self() { return std::static_pointer_cast<ExecuteCall>(shared_from_this()); }

  absl::Status Begin();
  absl::Status BeginOnce(core::Statement statement);
  void OnAcquired(const absl::StatusOr<core::LeaseView>& lease, core::Statement statement);
  absl::Status Run(core::LeaseCounter lease, core::Statement statement);
  // The answer's end, behind the rows that stand ready.
  void Finish(const absl::Status& status);
  // The same, once the lease of `once` has ended.
  void ReleaseAndFinish(core::LeaseCounter lease, const absl::Status& status);
  // The statement, if it paused and may go on.
  std::optional<core::Lessor::Running> ToResume() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Cancels the statement and lets what it still sends run into nothing.
  void CancelStatement();

  const Method& method_;
  v1::ExecuteRequest request_;
  Writer writer_;
  core::Lessor::AttemptRef attempt_;  // of `once`; the queue's thread's own

  core::Mutex mutex_;
  std::optional<core::LeaseCounter> once_ ABSL_GUARDED_BY(mutex_);  // its lease
  std::optional<core::Lessor::Running> running_ ABSL_GUARDED_BY(mutex_);
  std::optional<ResultBatches> batches_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::ExecuteResponse> ready_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool headers_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;                // the caller
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;           // its rows are nobody's
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);  // the answer's, once all rows are here
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace pglessor::rpc
