// How an acquire becomes a lease: Lessor's Acquire and Over, the search through a pool and its fallbacks, and
// the attempts that share a request_id.
#include <functional>
#include <utility>

#include "server/core/error.h"
#include "server/core/lessor.h"

namespace pglessor::core {

class Lessor::Attempt {
 public:
  // Whether the lease or the end of the call comes first is decided here, once: kWaiting, kOver, or the
  // lease's counter, which begins at 1.
  static constexpr uint64_t kWaiting = 0;
  static constexpr uint64_t kOver = UINT64_MAX;

  std::atomic<uint64_t> outcome{kWaiting};
  Mutex mutex;
  RequestTable::Place place ABSL_GUARDED_BY(mutex);  // null if it never queued
  // With a request_id, all of it is there instead.
  RequestTable::AttemptRef once;

  RequestTable::Place Place() {
    const MutexLock lock(mutex);
    return place;
  }
};

struct Lessor::Search {
  AcquireRequest request;
  Time deadline{};
  int step = 0;  // of its next place
  // Told of the place that it has now, and in the end of what came of it, which may be to seek again.
  std::function<void(RequestTable::Place)> placed;
  absl::AnyInvocable<void(const std::shared_ptr<Search>&, absl::StatusOr<LeaseView>)> found;
};

Lessor::AttemptRef Lessor::Acquire(AcquireRequest request, Acquired acquired) {
  const absl::StatusOr<Pool*> found = FindPool(request);
  // Shared with the callback; the caller has it until its RPC is over.
  auto attempt = std::make_shared<Attempt>();
  if (!found.ok()) {
    acquired(found.status());
    return attempt;
  }
  Pool& pool = **found;
  if (!request.request_id.empty()) return AcquireOnce(pool, std::move(request), std::move(acquired));

  // Shared with the pools' callbacks.
  auto search = std::make_shared<Search>();
  search->deadline =
      SaturatingAdd(clock_.Now(), request.wait ? *request.wait : pool.options()->acquire_timeout);
  search->request = std::move(request);
  search->placed = [attempt](RequestTable::Place place) {
    {
      const MutexLock lock(attempt->mutex);
      if (place.step < attempt->place.step) return;
      attempt->place = place;
    }
    // Whoever found that the caller has gone may have seen the place before this one.
    if (attempt->outcome == Attempt::kOver) place.pool->Cancel(place.waiter);
  };
  search->found = [this, attempt, acquired = std::move(acquired)](const std::shared_ptr<Search>&,
                                                                  absl::StatusOr<LeaseView> lease) mutable {
    uint64_t waiting = Attempt::kWaiting;
    if (lease.ok() && !attempt->outcome.compare_exchange_strong(waiting, lease->grant.counter.value)) {
      EndUnasked(lease->grant.counter, {EndReason::kUnclaimed});
    }
    acquired(std::move(lease));
  };
  Seek(search, pool);
  return attempt;
}

void Lessor::Seek(const std::shared_ptr<Search>& search, Pool& pool) {
  // Where this place fails at once, the next one is told of before it.
  const int step = search->step++;
  Arrival arrival;
  arrival.tenant = search->request.tenant;
  arrival.priority = search->request.priority;
  arrival.wait = search->deadline - clock_.Now();
  arrival.done = [this, search, &pool](absl::StatusOr<Granted> granted) {
    if (granted.ok()) {
      search->found(search, Grant(pool, std::move(search->request), *std::move(granted)));
    } else if (Pool* const fallback = FallbackFor(pool, search->request, granted.status())) {
      Seek(search, *fallback);
    } else {
      search->found(search, granted.status());
    }
  };
  const WaiterId waiter = pool.Acquire(std::move(arrival));
  search->placed({&pool, waiter, step});
}

Pool* Lessor::FallbackFor(Pool& pool, const AcquireRequest& request, const absl::Status& why) const {
  static constexpr const char* kCannotServe[] = {reason::kBreakerOpen,        reason::kDatabaseUnavailable,
                                                 reason::kDatabaseAuthFailed, reason::kPoolExhausted,
                                                 reason::kNoIdleConnection,   reason::kWaitQueueFull};
  // Not a chain: a fallback's own fallback is for those that ask for it.
  if (!request.allow_fallback || pool.name() != request.pool) return nullptr;
  const std::optional<ErrorDetail> detail = DetailOf(why);
  if (!detail ||
      std::find(std::begin(kCannotServe), std::end(kCannotServe), detail->reason) == std::end(kCannotServe)) {
    return nullptr;
  }
  return pools_.Find(pool.options()->fallback_pool);
}

void Lessor::Over(const AttemptRef& attempt, bool delivered) {
  if (attempt->once != nullptr) {
    if (requests_.Over(attempt->once, delivered, clock_.Now())) {
      std::exchange(attempt->once->done, nullptr)(absl::CancelledError("the caller has gone"));
    }
    return;
  }
  if (delivered || attempt->Place().pool == nullptr) return;
  const uint64_t outcome = attempt->outcome.exchange(Attempt::kOver);
  if (outcome == Attempt::kWaiting) {
    const RequestTable::Place place = attempt->Place();
    place.pool->Cancel(place.waiter);
  } else {
    EndUnasked(LeaseCounter{outcome}, {EndReason::kUnclaimed});
  }
}

Lessor::AttemptRef Lessor::AcquireOnce(Pool& pool, AcquireRequest request, Acquired acquired) {
  const std::shared_ptr<const PoolOptions> options = pool.options();
  auto attempt = std::make_shared<Attempt>();
  attempt->once = std::make_shared<RequestTable::Attempt>();
  const RequestTable::AttemptRef once = attempt->once;
  const Duration wait = request.wait.value_or(options->acquire_timeout);
  once->since = clock_.Now();
  const Time deadline = SaturatingAdd(once->since, wait);
  once->deadline = deadline;
  once->unqueued_deadline =
      wait > Duration::zero() ? deadline : SaturatingAdd(once->since, options->connect_timeout);
  once->pool = &pool;
  once->tenant = request.tenant;
  once->done = std::move(acquired);
  const absl::StatusOr<RequestTable::Joined> joined =
      requests_.Join(request, options->unclaimed_timeout, once);
  if (!joined.ok()) {
    attempt->once = nullptr;
    once->done(joined.status());
    return attempt;
  }
  if (!joined->first) {
    AnswerRetry(once, *joined);
    return attempt;
  }
  auto search = std::make_shared<Search>();
  search->deadline = deadline;
  search->request = std::move(request);
  search->placed = [this, once](RequestTable::Place place) {
    const RequestTable::Keep keep = requests_.Queued(once, place);
    if (keep.until) place.pool->Extend(place.waiter, *keep.until);
    if (keep.given_up) place.pool->Cancel(place.waiter);
  };
  search->found = [this, once, &pool](const std::shared_ptr<Search>& again,
                                      const absl::StatusOr<LeaseView>& lease) {
    if (!lease.ok()) {
      const RequestTable::Answer answer = requests_.Failed(once);
      for (const auto& waiting : answer.attempts) waiting->done(lease.status());
      if (answer.again) {
        again->deadline = *answer.again;
        Seek(again, pool);
      }
      return;
    }
    const RequestTable::Answer answer = requests_.Granted(once, lease->grant.counter);
    if (answer.given_up) EndUnasked(lease->grant.counter, {EndReason::kUnclaimed});
    for (const auto& waiting : answer.attempts) waiting->done(lease);
  };
  Seek(search, pool);
  return attempt;
}

void Lessor::AnswerRetry(const RequestTable::AttemptRef& attempt, const RequestTable::Joined& joined) {
  if (joined.extend) joined.extend->pool->Extend(joined.extend->waiter, attempt->deadline);
  if (!joined.lease) return;
  // Somebody found that nobody claims it, and may not have ended it yet: which of us does is all one.
  if (joined.giving_up) EndUnasked(*joined.lease, {EndReason::kUnclaimed});
  const std::optional<LeaseView> lease = leases_.View(*joined.lease);
  if (!lease) {
    attempt->done(LeaseNotFound());
  } else if (lease->end_reason) {
    attempt->done(EndedError(*lease->end_reason));
  } else {
    attempt->done(*lease);
  }
}

LeaseView Lessor::Grant(Pool& pool, AcquireRequest request, Granted granted) {
  // Held, since they may be replaced meanwhile.
  const std::shared_ptr<const PoolOptions> held = pool.options();
  const PoolOptions& options = *held;
  LeaseGrant grant;
  grant.counter = LeaseCounter{++last_lease_};
  grant.pool = options.name;
  if (request.pool != options.name) grant.fallback_for = request.pool;
  grant.terms = {std::move(request.tenant),
                 std::move(request.holder),
                 std::clamp(request.ttl.value_or(options.default_ttl), options.min_ttl, options.max_ttl),
                 request.priority,
                 std::move(request.tags),
                 !request.request_id.empty(),
                 request.renewal};
  grant.connection = granted.slot.slot.index;
  grant.connection_opened = granted.opened;
  grant.backend_pid = granted.connection->backend_pid();
  grant.fencing_token = granted.slot.fencing_token;
  grant.acquired = granted.slot.at;
  grant.acquired_wall = clock_.WallNow();
  grant.waited = granted.slot.waited;

  const LeaseCounter counter = grant.counter;
  const std::shared_ptr<Connection> connection = granted.connection;
  LeaseView view = leases_.Insert(std::move(grant), &pool, std::move(granted),
                                  {options.max_lease_lifetime, options.max_think_time,
                                   options.max_idle_in_transaction, options.leak_warning});
  EmitGranted(view);
  // The backend may die at any point of this, or the pool be reset. Either that finds the lease bound, or we
  // find that it has happened.
  if (const auto overtaken = pool.Bind(view.grant.connection, counter)) {
    EndUnasked(counter, {*overtaken, Disposition::kDiscard});
  }
  if (connection->lost()) EndUnasked(counter, {EndReason::kConnectionLost, Disposition::kDiscard});
  return view;
}

}  // namespace pglessor::core
