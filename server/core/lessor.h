// The use cases: all of the core that an edge sees.
//
// Threads: any thread may call; nothing blocks. Callbacks come exactly once, with no lock held, perhaps
//   inside the call that takes them.
// Owns: pools and leases. It must outlive whatever runs its connectors' callbacks: stop that first.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "server/core/acquire_request.h"
#include "server/core/clock.h"
#include "server/core/connection.h"
#include "server/core/events.h"
#include "server/core/ids.h"
#include "server/core/lease.h"
#include "server/core/lease_table.h"
#include "server/core/lease_token.h"
#include "server/core/lists.h"
#include "server/core/options.h"
#include "server/core/pool.h"
#include "server/core/pools.h"
#include "server/core/request_table.h"
#include "server/core/statement.h"

namespace pglessor::core {

enum class Disposition { kReturn, kDiscard };

// How a lease is to end.
struct LeaseEnding {
  EndReason reason = EndReason::kReleased;
  Disposition disposition = Disposition::kReturn;  // of its connection
  std::string why = {};                            // what an operator said, for the events
};

struct LessorOptions {
  ReplicaId replica;
  std::string server_address;  // where follow-up calls go
  LeaseTableOptions leases;
};

class Lessor {
 public:
  // One call of Acquire, until its RPC is over.
  class Attempt;
  using AttemptRef = std::shared_ptr<Attempt>;
  using Acquired = absl::AnyInvocable<void(absl::StatusOr<LeaseView>)>;

  struct Released {
    LeaseView lease;
    bool already_released = false;
    bool rolled_back = false;
  };

  struct Expired {
    std::vector<LeaseCounter> leases;  // that this call ended
    PoolReport connections;            // of ExpireConnections
  };

  // A statement that has the permit: what can still be done about it. Every call is safe after its end.
  struct Running {
    StatementKey statement;
    std::shared_ptr<Connection> connection;

    void Cancel() const { connection->Cancel(statement); }
    void ResumeRows() const { connection->ResumeRows(statement); }
  };

  // All three outlive it.
  Lessor(const LessorOptions& options, const Clock& clock, const TokenKey& key, const Events& events);

  // The pool opens what its warm-up wants, and serves. The connector and the source must outlive the lessor.
  // Requires: no pool of that name is there, but one that was removed.
  void AddPool(const PoolOptions& options, Connector& connector, FencingSource& fencing);
  // The pool is found no more; those that wait in it fail with UNAVAILABLE DRAINING. Idle connections close
  // now, leased ones when they come back; its leases may last for `timeout`, and then end kDrained. Until it
  // is gone it still shows where Stats and lists are asked for it, unless another of its name is there.
  // `gone` is told by Tick. Fails with: POOL_NOT_FOUND; `gone` is then dropped.
  absl::Status RemovePool(absl::string_view name, Duration timeout, Pools::Gone gone);

  // Where its pool cannot serve it and it allows that, the pool's fallback is asked next.
  // Fails with: NOT_FOUND POOL_NOT_FOUND; as Pool::Acquire; with a request_id also INVALID_ARGUMENT
  //   REQUEST_ID_REUSED, and FAILED_PRECONDITION with the end reason of its lease.
  AttemptRef Acquire(AcquireRequest request, Acquired acquired);
  // Its RPC is over, once; `delivered`: the caller has the answer. If not, it leaves the queue, or its lease
  // ends; with a request_id, both are kept unclaimed_timeout for a retry.
  void Over(const AttemptRef& attempt, bool delivered);

  // What `token` proves. Fails with: NOT_FOUND LEASE_NOT_FOUND.
  struct Proof {
    LeaseCounter lease;
    std::string tenant;  // only who acts for it may use the token
  };
  absl::StatusOr<Proof> Prove(absl::string_view token) const;
  // The same by its public name, which proves nothing: for operators.
  absl::StatusOr<LeaseCounter> Find(absl::string_view lease_id) const;
  std::string TokenOf(const LeaseGrant& grant) const;
  LeaseId IdOf(const LeaseGrant& grant) const { return {options_.replica, grant.counter}; }
  LeaseId IdOf(LeaseCounter lease) const { return {options_.replica, lease}; }
  // Nothing if the lease is forgotten.
  std::optional<std::string> TenantOf(LeaseCounter lease);
  const std::string& server_address() const { return options_.server_address; }
  const ReplicaId& replica() const { return options_.replica; }

  // Answers when nothing of the holder can reach the database any more. Releasing twice is no failure.
  // Fails with: LEASE_NOT_FOUND; FAILED_PRECONDITION with the end reason, if the lease was taken away.
  void Release(LeaseCounter lease, Disposition disposition,
               absl::AnyInvocable<void(absl::StatusOr<Released>)> done);
  // Fails with: LEASE_NOT_FOUND; FAILED_PRECONDITION with the end reason.
  absl::StatusOr<LeaseView> Renew(LeaseCounter lease, std::optional<Duration> ttl);

  // Told once the lease has ended and nothing of its holder can reach the database any more, whoever ended
  // it. Fails with: LEASE_NOT_FOUND; `ended` is then dropped.
  absl::Status WhenEnded(LeaseCounter lease, absl::AnyInvocable<void(const LeaseView&)> ended);

  // Each answers as Release does. Ending an ended lease is no failure. With `validate_only` nothing is
  // changed, and the answer is what would be.
  using ExpireDone = absl::AnyInvocable<void(absl::StatusOr<Expired>)>;
  // Fails with: LEASE_NOT_FOUND.
  void Expire(LeaseCounter lease, LeaseEnding ending, bool validate_only, ExpireDone done);
  // All that match end kRevoked. Fails with: POOL_NOT_FOUND.
  void ExpireLeases(const LeaseFilter& filter, const std::string& why, bool validate_only, ExpireDone done);
  // Retires connections older than that (unset = max_lifetime), those that are leased with their leases
  // (kRevoked) if `include_leased`, and refills to the minimum. Fails with: POOL_NOT_FOUND.
  struct OldConnections {
    std::string pool;
    std::optional<Duration> older_than;
    bool include_leased = false;
  };
  void ExpireConnections(const OldConnections& which, const std::string& why, bool validate_only,
                         ExpireDone done);

  // Raises the pool's generation, ends leases kPoolReset if `force`, and answers when its minimum stands.
  // Fails with: POOL_NOT_FOUND; UNAVAILABLE DATABASE_UNAVAILABLE, DRAINING.
  void Reset(const std::string& pool, bool force, const std::string& why, PoolOperation::Done done);
  // Probes what is idle, and opens up to `target` (0 = the maximum). Fails with: POOL_NOT_FOUND.
  void RenewPool(const std::string& pool, int32_t target, PoolOperation::Done done);

  // Nothing is granted from the pool until it is resumed; `reason` is for the events. Twice is no failure.
  // Fails with: POOL_NOT_FOUND.
  absl::StatusOr<Pool::Pausing> PausePool(absl::string_view pool, const std::string& reason);
  absl::StatusOr<Pool::Pausing> ResumePool(absl::string_view pool);
  // Other options for the pool of that name, from now on. Fails with: POOL_NOT_FOUND; INVALID_ARGUMENT
  //   FIELD_INVALID, if they do not fit together: nothing has changed then.
  absl::Status Reconfigure(const PoolOptions& options);
  // The same with what `change` makes of those that it has, which are then returned. It is asked again where
  // somebody else has changed them meanwhile. Fails with: the same; as `change`.
  using OptionsChange = absl::FunctionRef<absl::StatusOr<PoolOptions>(const PoolOptions&)>;
  absl::StatusOr<PoolOptions> Reconfigure(absl::string_view pool, OptionsChange change);

  // Runs a statement; `sink` gets its rows and its end. In the end that `sink` sees, `error` is what the
  // holder is to be told, whatever `how` says.
  // Fails with: LEASE_NOT_FOUND; FAILED_PRECONDITION with the end reason; ABORTED LEASE_BUSY. `sink` is
  //   then not called.
  absl::StatusOr<Running> Execute(LeaseCounter lease, Statement statement,
                                  std::shared_ptr<StatementSink> sink);

  // All pools by name, or the one named. Fails with: NOT_FOUND POOL_NOT_FOUND.
  absl::StatusOr<std::vector<PoolView>> Stats(absl::string_view name);

  // Whether it shows. Fails with: POOL_NOT_FOUND.
  absl::Status CheckPool(absl::string_view name) const;

  // A page of at most `limit`, behind `after`; from the first one on if unset. Fails with: POOL_NOT_FOUND.
  absl::StatusOr<LeasePage> ListLeases(const LeaseQuery& query, std::optional<LeaseCounter> after,
                                       size_t limit);
  absl::StatusOr<ConnectionPage> ListConnections(const ConnectionQuery& query,
                                                 const std::optional<ConnectionPlace>& after, size_t limit);

  // What is due: waiters, leases, openings, memories, pools that leave.
  void Tick();

  // No more grants: new and waiting acquires fail with UNAVAILABLE DRAINING. No lease is renewed past
  // `deadline`.
  void Drain(Time deadline = Time::max());
  // Ends every lease that is left (DRAINED), closes every connection. Requires: Drain was called.
  void CloseAll();
  // Every pool has had as many connections open as its warm-up wants.
  bool Warm();
  // Leases that have not ended.
  int32_t InUse();
  // No connection is left.
  bool Empty();

 private:
  // Leases that are being ended together.
  class Batch;

  absl::StatusOr<Pool*> FindPool(absl::string_view name) const;
  // The one that `request` asks for.
  absl::StatusOr<Pool*> FindPool(const AcquireRequest& request) const;
  absl::StatusOr<Pool*> FindShownPool(absl::string_view name) const;
  // No lease of it is renewed past this.
  Time LatestExpiry(const Pool& pool) const;
  void SeeOff(Pool& pool);
  // One place in one pool's queue after the other: the pool that is asked for, and then its fallback.
  struct Search;
  void Seek(const std::shared_ptr<Search>& search, Pool& pool);
  Pool* FallbackFor(Pool& pool, const AcquireRequest& request, const absl::Status& why) const;
  AttemptRef AcquireOnce(Pool& pool, AcquireRequest request, Acquired acquired);
  void AnswerRetry(const RequestTable::AttemptRef& attempt, const RequestTable::Joined& joined);
  LeaseView Grant(Pool& pool, AcquireRequest request, Granted granted);
  // Ends the lease, if nobody has, and carries that out; true if this call did.
  // Fails with: LEASE_NOT_FOUND.
  absl::StatusOr<bool> End(LeaseCounter lease, LeaseEnding ending, LeaseTable::OnFenced on_fenced);
  // The same where nobody waits for it, and where one that has ended already is as good.
  void EndUnasked(LeaseCounter lease, LeaseEnding ending);
  void EndAll(const std::vector<LeaseCounter>& leases, const LeaseEnding& ending,
              const std::shared_ptr<Batch>& batch);
  void CarryOut(LeaseCounter lease, const LeaseTable::EndWork& work, LeaseEnding ending);
  void EmitGranted(const LeaseView& lease) const;
  void EmitRenewed(LeaseCounter lease);  // by itself
  void EmitLeakSuspected(LeaseCounter lease);
  void EmitEnded(LeaseCounter lease, EndReason reason, const std::string& why);
  Event EventOf(EventType type, const LeaseView& lease) const;

  const LessorOptions options_;
  const Clock& clock_;
  const TokenKey& key_;
  const Events& events_;

  Pools pools_;
  std::atomic<uint64_t> last_lease_{0};
  std::atomic<bool> draining_{false};
  std::atomic<Time> latest_expiry_{Time::max()};  // the drain's deadline
  LeaseTable leases_;
  RequestTable requests_;
};

}  // namespace pglessor::core
