// The stream of one Session: requests with numbers, and their answers in order.
//
// Threads: one at a time.
// Owns: the stream. The destructor breaks it, which ends the lease on it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "client/internal/replica.h"
#include "pglessor/acquire_options.h"
#include "pglessor/lease.h"
#include "pglessor/result.h"
#include "pglessor/statement.h"
#include "pglessor/v1/sql_service.pb.h"

namespace pglessor::internal {

class SessionStream {
 public:
  // `defaults` for what an acquire leaves unset.
  SessionStream(std::shared_ptr<Replica> replica, AcquireOptions defaults);
  ~SessionStream();
  SessionStream(const SessionStream&) = delete;
  SessionStream& operator=(const SessionStream&) = delete;

  absl::Status Acquire(const AcquireOptions& given);
  std::vector<absl::StatusOr<Result>> ExecuteAll(absl::Span<const Statement> statements);
  absl::StatusOr<ReleaseResult> Release();

  // The last that was granted.
  const v1::Lease& lease() const { return lease_; }

 private:
  // False once the stream has ended. Gives the request its number.
  bool Send(v1::SessionRequest& request);
  // The next answer that is one to a request; nothing once the stream has ended.
  bool Receive(v1::SessionResponse& response);
  absl::StatusOr<Result> ReceiveResult();
  // How the stream ended, which is never OK: whoever asks still wanted something of it.
  const grpc::Status& Ended();

  const std::shared_ptr<Replica> replica_;
  const AcquireOptions defaults_;
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::SessionRequest, v1::SessionResponse>> stream_;
  bool ended_ = false;
  grpc::Status end_;
  int64_t last_id_ = 0;
  v1::Lease lease_;
};

}  // namespace pglessor::internal
