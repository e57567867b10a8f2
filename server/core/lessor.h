// The use cases: all of the core that an edge sees.
//
// Threads: any thread may call; nothing blocks. Callbacks come exactly once, with no lock held, perhaps
//   inside the call that takes them.
// Owns: pools and leases. It must outlive whatever runs its connectors' callbacks: stop that first.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "server/core/clock.h"
#include "server/core/connection.h"
#include "server/core/ids.h"
#include "server/core/lease.h"
#include "server/core/lease_table.h"
#include "server/core/lease_token.h"
#include "server/core/options.h"
#include "server/core/pool.h"
#include "server/core/statement.h"

namespace pglessor::core {

struct AcquireRequest {
  std::string pool = "default";
  std::string tenant;
  std::string holder;
  std::optional<Duration> ttl;   // clamped to the pool's bounds
  std::optional<Duration> wait;  // zero = do not queue
  Priority priority = Priority::kNormal;
  std::map<std::string, std::string> tags;
};

enum class Disposition { kReturn, kDiscard };

struct LessorOptions {
  ReplicaId replica;
  std::string server_address;  // where follow-up calls go
  LeaseTableOptions leases;
};

class Lessor {
 public:
  // Names an acquire for as long as it waits.
  struct Ticket {
    Pool* pool = nullptr;
    WaiterId waiter;
  };
  using Acquired = absl::AnyInvocable<void(absl::StatusOr<LeaseView>)>;

  struct Released {
    LeaseView lease;
    bool already_released = false;
    bool rolled_back = false;
  };

  struct Expired {
    LeaseView lease;
    bool ended = false;  // by this call
  };

  // A statement that has the permit: what can still be done about it. Every call is safe after its end.
  struct Running {
    StatementKey statement;
    std::shared_ptr<Connection> connection;

    void Cancel() const { connection->Cancel(statement); }
    void ResumeRows() const { connection->ResumeRows(statement); }
  };

  Lessor(const LessorOptions& options, const Clock& clock, const TokenKey& key);

  // Before anything else is called. The connector and the source must outlive the lessor.
  void AddPool(const PoolOptions& options, Connector& connector, FencingSource& fencing);
  void Start();

  // Fails with: NOT_FOUND POOL_NOT_FOUND; as Pool::Acquire.
  Ticket Acquire(AcquireRequest request, Acquired acquired);
  // The caller has gone: leaves the queue. Nothing if it was answered.
  void CancelAcquire(Ticket ticket);
  // The answer with this lease could not be delivered.
  void EndUnclaimed(LeaseCounter lease);

  // The lease that `token` proves. Fails with: NOT_FOUND LEASE_NOT_FOUND.
  absl::StatusOr<LeaseCounter> Prove(absl::string_view token) const;
  // The same by its public name, which proves nothing: for operators.
  absl::StatusOr<LeaseCounter> Find(absl::string_view lease_id) const;
  std::string TokenOf(const LeaseGrant& grant) const;
  LeaseId IdOf(const LeaseGrant& grant) const { return {options_.replica, grant.counter}; }
  LeaseId IdOf(LeaseCounter lease) const { return {options_.replica, lease}; }
  const std::string& server_address() const { return options_.server_address; }
  const ReplicaId& replica() const { return options_.replica; }

  // Answers when nothing of the holder can reach the database any more. Releasing twice is no failure.
  // Fails with: LEASE_NOT_FOUND; FAILED_PRECONDITION with the end reason, if the lease was taken away.
  void Release(LeaseCounter lease, Disposition disposition,
               absl::AnyInvocable<void(absl::StatusOr<Released>)> done);
  // Fails with: LEASE_NOT_FOUND; FAILED_PRECONDITION with the end reason.
  absl::StatusOr<LeaseView> Renew(LeaseCounter lease, std::optional<Duration> ttl);
  // Answers as Release does. Ending an ended lease is no failure.
  // Fails with: LEASE_NOT_FOUND.
  void Expire(LeaseCounter lease, EndReason reason, absl::AnyInvocable<void(absl::StatusOr<Expired>)> done);

  // Runs a statement; `sink` gets its rows and its end. In the end that `sink` sees, `error` is what the
  // holder is to be told, whatever `how` says.
  // Fails with: LEASE_NOT_FOUND; FAILED_PRECONDITION with the end reason; ABORTED LEASE_BUSY. `sink` is
  //   then not called.
  absl::StatusOr<Running> Execute(LeaseCounter lease, Statement statement,
                                  std::shared_ptr<StatementSink> sink);

  // All pools by name, or the one named. Fails with: NOT_FOUND POOL_NOT_FOUND.
  absl::StatusOr<std::vector<PoolView>> Stats(absl::string_view name);

  // What is due: waiters, leases, openings, memories.
  void Tick();

  // No more grants: new and waiting acquires fail with UNAVAILABLE DRAINING.
  void Drain();
  // Ends every lease that is left (DRAINED), closes every connection. Requires: Drain was called.
  void CloseAll();
  // Every pool has its minimum of connections open.
  bool Warm();
  // Leases that have not ended.
  int32_t InUse();
  // No connection is left.
  bool Empty();

 private:
  absl::StatusOr<Pool*> FindPool(absl::string_view name) const;
  void Grant(Pool& pool, AcquireRequest request, absl::StatusOr<Granted> granted, Acquired& acquired);
  // Ends the lease, if nobody has, and carries that out. Fails with: LEASE_NOT_FOUND.
  absl::Status End(LeaseCounter lease, EndReason reason, Disposition disposition,
                   LeaseTable::OnFenced on_fenced);
  // The same where nobody waits for it, and where one that has ended already is as good.
  void EndUnasked(LeaseCounter lease, EndReason reason, Disposition disposition);
  void CarryOut(LeaseCounter lease, const LeaseTable::EndWork& work, Disposition disposition);

  const LessorOptions options_;
  const Clock& clock_;
  const TokenKey& key_;

  std::map<std::string, std::unique_ptr<Pool>, std::less<>> pools_;  // constant after Start
  std::atomic<uint64_t> last_lease_{0};
  LeaseTable leases_;
};

}  // namespace pglessor::core
