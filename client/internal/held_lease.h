// A lease that this process holds: its token, how long it can be trusted, and the calls on it. What the
// public Lease, a Transaction and the calls in the background share.
//
// Threads: any. The mutex guards the state that is marked; every call to the server, the background thread or
// the caller's code is made without it.
// Owns: its timer on the background thread, which renews it and marks its loss. Once lost it sets none.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "client/internal/answer.h"
#include "client/internal/background.h"
#include "client/internal/lease_term.h"
#include "client/internal/mutex.h"
#include "client/internal/replica.h"
#include "pglessor/lease.h"
#include "pglessor/v1/lease_service.pb.h"
#include "pglessor/v1/sql_service.pb.h"

namespace pglessor::internal {

class HeldLease : public std::enable_shared_from_this<HeldLease> {
 public:
  struct Parts {
    std::shared_ptr<Background> background;
    std::shared_ptr<Replica> replica = {};
    v1::AcquireResponse granted = {};
    LeaseTerm::Promise promise = {};
    Duration call_timeout;
  };
  // Renewed from then on.
  static std::shared_ptr<HeldLease> Hold(Parts parts);
  ~HeldLease();
  HeldLease(const HeldLease&) = delete;
  HeldLease& operator=(const HeldLease&) = delete;

  // What `answer` promises, by the lease in it.
  static LeaseTerm::Promise PromiseOf(const v1::Lease& lease, Time from);

  // What was granted, without its secret; its ttl may have changed since.
  const v1::Lease& granted() const { return granted_; }
  Duration ttl() const;
  Duration call_timeout() const { return call_timeout_; }

  bool lost() const;
  // As the last answer said.
  bool in_transaction() const;

  absl::StatusOr<Summary> Run(const Statement& statement, EachRow each_row);
  absl::StatusOr<Result> Run(const Statement& statement);

  // Gives it back and waits for the answer. Nothing is renewed any more, whatever the answer.
  absl::StatusOr<ReleaseResult> Release(v1::Disposition disposition);
  // Gives it back without waiting, if that is still to be done. What was wrong with it, if anything, is what
  // later calls say.
  void Abandon(const absl::Status& why = absl::OkStatus());

 private:
  using Context = std::shared_ptr<grpc::ClientContext>;

  explicit HeldLease(Parts parts);

  void SetTimer();
  void OnTimer(Background::Wake wake);
  void Renew(Time now, Time attempt_end);
  void OnRenewed(Time sent, const grpc::Status& status, const v1::RenewResponse& response);
  // Notes that the lease is gone.
  void End(const absl::Status& why);
  // Ends the statements that run, on our side: for where the server may never answer them.
  void CutOff();

  // A statement begins: refused on a lost lease, and known by its context until it has ended.
  absl::Status Enter(const Context& context);
  void Leave(const Context& context, const absl::StatusOr<Summary>& outcome);
  absl::StatusOr<Summary> RunOnce(const v1::ExecuteRequest& request, const Context& context,
                                  EachRow each_row);
  // Why no call can be made any more; OK if it can.
  absl::Status WhyLost() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<Background> background_;
  const std::shared_ptr<Replica> replica_;
  const v1::Lease granted_;
  const std::string token_;
  const Duration call_timeout_;
  const Background::TimerId timer_;

  mutable Mutex mutex_;
  LeaseTerm term_ ABSL_GUARDED_BY(mutex_);
  absl::Status end_ ABSL_GUARDED_BY(mutex_);       // why it is gone, where somebody said so
  bool released_ ABSL_GUARDED_BY(mutex_) = false;  // the server knows, or is being told
  bool in_transaction_ ABSL_GUARDED_BY(mutex_) = false;
  // A statement was given up on our side. Until the server has cancelled it, the lease is busy.
  bool gave_up_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Context> running_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pglessor::internal
