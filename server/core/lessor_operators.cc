// What operators, and holders of one lease, ask to be ended or replaced: Lessor's Expire, Reset, RenewPool.
#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "server/core/lessor.h"
#include "server/core/mutex.h"

namespace pglessor::core {

// Leases that end together: answered when the last of what was announced has happened.
class Lessor::Batch {
 public:
  Batch(size_t awaited, ExpireDone done) : awaited_(awaited), done_(std::move(done)) {}

  // Requires: not all has happened.
  void Await(size_t more) { awaited_ += more; }
  void Fenced(LeaseCounter lease, bool by_us) {
    if (by_us) {
      const MutexLock lock(mutex_);
      expired_.leases.push_back(lease);
    }
    Happened();
  }
  void PoolDone(const absl::StatusOr<PoolReport>& report) {
    {
      const MutexLock lock(mutex_);
      status_ = report.status();
      if (report.ok()) expired_.connections = *report;
    }
    Happened();
  }
  void Happened() {
    if (--awaited_ > 0) return;
    absl::StatusOr<Expired> answer;
    {
      const MutexLock lock(mutex_);
      std::sort(expired_.leases.begin(), expired_.leases.end());
      answer = std::move(expired_);
      if (!status_.ok()) answer = status_;
    }
    done_(std::move(answer));
  }

 private:
  std::atomic<size_t> awaited_;
  ExpireDone done_;  // by whoever was last
  Mutex mutex_;
  Expired expired_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

void Lessor::EndAll(const std::vector<LeaseCounter>& leases, const LeaseEnding& ending,
                    const std::shared_ptr<Batch>& batch) {
  for (const LeaseCounter lease : leases) {
    const absl::Status found = End(lease, ending, [batch, lease](const LeaseTable::Ended& ended) {
                                 batch->Fenced(lease, ended.by_this_call);
                               }).status();
    if (!found.ok()) batch->Happened();  // it has ended and is forgotten
  }
}

void Lessor::Expire(LeaseCounter lease, LeaseEnding ending, bool validate_only, ExpireDone done) {
  if (validate_only) {
    const std::optional<LeaseView> view = leases_.View(lease);
    if (!view) {
      done(LeaseNotFound());
      return;
    }
    Expired expired;
    if (view->state == LeaseState::kActive) expired.leases.push_back(lease);
    done(std::move(expired));
    return;
  }
  // Shared by the two ways to an answer, of which exactly one is taken.
  auto answer = std::make_shared<ExpireDone>(std::move(done));
  const absl::StatusOr<bool> ended =
      End(lease, std::move(ending), [answer, lease](const LeaseTable::Ended& fenced) {
        Expired expired;
        if (fenced.by_this_call) expired.leases.push_back(lease);
        (*answer)(std::move(expired));
      });
  if (!ended.ok()) (*answer)(ended.status());
}

void Lessor::ExpireLeases(const LeaseFilter& filter, const std::string& why, bool validate_only,
                          ExpireDone done) {
  if (!filter.pool.empty()) {
    if (const absl::Status pool = CheckPool(filter.pool); !pool.ok()) {
      done(pool);
      return;
    }
  }
  const std::vector<LeaseCounter> matching = leases_.Select([&](const Lease& lease, Time now) {
    const LeaseGrant& grant = lease.grant();
    return Matches(filter, grant) &&
           (!filter.held_longer_than || now - grant.acquired > *filter.held_longer_than);
  });
  if (validate_only) {
    done(Expired{matching, {}});
    return;
  }
  // Shared by all the fences that are waited for.
  const auto batch = std::make_shared<Batch>(matching.size() + 1, std::move(done));
  EndAll(matching, {EndReason::kRevoked, Disposition::kReturn, why}, batch);
  batch->Happened();  // there may have been none
}

void Lessor::ExpireConnections(const OldConnections& which, const std::string& why, bool validate_only,
                               ExpireDone done) {
  const absl::StatusOr<Pool*> pool = FindPool(which.pool);
  if (!pool.ok()) {
    done(pool.status());
    return;
  }
  // A lifetime of zero is none: no connection is too old for it.
  const Duration lifetime = (*pool)->options()->max_lifetime;
  const Duration too_old = lifetime > Duration::zero() ? lifetime : Duration::max();
  const Duration older_than = which.older_than.value_or(too_old);
  if (validate_only) {
    done(Expired{{}, (*pool)->WouldExpire(older_than, which.include_leased)});
    return;
  }
  // Shared by the pool's answer, the fences that are waited for, and by us, who know only later how many.
  const auto batch = std::make_shared<Batch>(2, std::move(done));
  const std::vector<LeaseCounter> leases =
      (*pool)->Expire(older_than, which.include_leased,
                      [batch](const absl::StatusOr<PoolReport>& report) { batch->PoolDone(report); });
  batch->Await(leases.size());
  // They are cleaned first, though they will be closed: what has come clean can wait for its replacement.
  EndAll(leases, {EndReason::kRevoked, Disposition::kReturn, why}, batch);
  batch->Happened();
}

void Lessor::Reset(const std::string& pool_name, bool force, const std::string& why,
                   PoolOperation::Done done) {
  const absl::StatusOr<Pool*> pool = FindPool(pool_name);
  if (!pool.ok()) {
    done(pool.status());
    return;
  }
  for (const LeaseCounter lease : (*pool)->Reset(force, why, std::move(done))) {
    // As in ExpireConnections.
    EndUnasked(lease, {EndReason::kPoolReset, Disposition::kReturn, why});
  }
}

void Lessor::RenewPool(const std::string& pool_name, int32_t target, PoolOperation::Done done) {
  const absl::StatusOr<Pool*> pool = FindPool(pool_name);
  if (!pool.ok()) {
    done(pool.status());
    return;
  }
  (*pool)->Renew(target > 0 ? target : (*pool)->options()->max_connections, std::move(done));
}

absl::StatusOr<Pool::Pausing> Lessor::PausePool(absl::string_view pool_name, const std::string& reason) {
  const absl::StatusOr<Pool*> pool = FindPool(pool_name);
  if (!pool.ok()) return pool.status();
  return (*pool)->Pause(reason);
}

absl::StatusOr<Pool::Pausing> Lessor::ResumePool(absl::string_view pool_name) {
  const absl::StatusOr<Pool*> pool = FindPool(pool_name);
  if (!pool.ok()) return pool.status();
  return (*pool)->Resume();
}

}  // namespace pglessor::core
