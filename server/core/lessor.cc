#include "server/core/lessor.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/error.h"
#include "server/core/statement_outcome.h"

namespace pglessor::core {
namespace {

// Leases taken off the expiry queue in one go; the next tick takes the rest.
constexpr size_t kExpiriesPerTick = 10'000;

// Passes a statement's rows on; at its end gives the permit back, and says what the holder may be told.
class PermitSink : public StatementSink {
 public:
  PermitSink(LeaseTable& leases, LeaseCounter lease, StatementId id, absl::string_view sql,
             std::shared_ptr<StatementSink> sink)
      : leases_(leases),
        lease_(lease),
        id_(id),
        stays_in_transaction_(StaysInTransaction(sql)),
        sink_(std::move(sink)) {}

  void OnColumns(std::vector<Column> columns) override { sink_->OnColumns(std::move(columns)); }
  Flow OnRow(Row row) override { return sink_->OnRow(row); }

  void OnEnd(StatementEnd end) override {
    if (end.how == StatementEnd::How::kFenced || end.how == StatementEnd::How::kConnectionLost) {
      const std::optional<LeaseView> lease = leases_.View(lease_);
      end.error = OutcomeOfUnanswered(end, stays_in_transaction_, lease ? lease->end_reason : std::nullopt);
    }
    // Before the holder hears of it: his next statement may be here before this call has returned.
    leases_.ReturnPermit(lease_, id_, end.in_transaction ? TransactionState::kOpen : TransactionState::kNone);
    sink_->OnEnd(std::move(end));
  }

 private:
  LeaseTable& leases_;
  const LeaseCounter lease_;
  const StatementId id_;
  const bool stays_in_transaction_;
  // Shared with the edge's call, which lives until both have ended.
  const std::shared_ptr<StatementSink> sink_;
};

}  // namespace

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
  // Told of the place that it has now, and in the end of what came of it.
  std::function<void(RequestTable::Place)> placed;
  absl::AnyInvocable<void(absl::StatusOr<LeaseView>)> found;
};

Lessor::Lessor(const LessorOptions& options, const Clock& clock, const TokenKey& key, const Events& events)
    : options_(options), clock_(clock), key_(key), events_(events), leases_(clock, options.leases) {}

void Lessor::AddPool(const PoolOptions& options, Connector& connector, FencingSource& fencing) {
  pools_.emplace(options.name, std::make_unique<Pool>(
                                   options, Pool::Surroundings{clock_, events_}, connector, fencing,
                                   [this](LeaseCounter lease) {
                                     EndUnasked(lease, {EndReason::kConnectionLost, Disposition::kDiscard});
                                   }));
}

void Lessor::Start() {
  for (const auto& [name, pool] : pools_) pool->Start();
}

Lessor::AttemptRef Lessor::Acquire(AcquireRequest request, Acquired acquired) {
  const absl::StatusOr<Pool*> found = FindPool(request.pool);
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
  search->found = [this, attempt, acquired = std::move(acquired)](absl::StatusOr<LeaseView> lease) mutable {
    uint64_t waiting = Attempt::kWaiting;
    if (lease.ok() && !attempt->outcome.compare_exchange_strong(waiting, lease->grant.counter.value)) {
      EndUnasked(lease->grant.counter, {EndReason::kUnclaimed});
    }
    acquired(std::move(lease));
  };
  Seek(search, pool, 0);
  return attempt;
}

void Lessor::Seek(const std::shared_ptr<Search>& search, Pool& pool, int step) {
  Arrival arrival;
  arrival.tenant = search->request.tenant;
  arrival.priority = search->request.priority;
  arrival.wait = search->deadline - clock_.Now();
  arrival.done = [this, search, &pool, step](absl::StatusOr<Granted> granted) {
    if (granted.ok()) {
      search->found(Grant(pool, std::move(search->request), *std::move(granted)));
    } else if (Pool* const fallback = FallbackFor(pool, search->request, granted.status())) {
      Seek(search, *fallback, step + 1);
    } else {
      search->found(granted.status());
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
  const auto fallback = pools_.find(pool.options()->fallback_pool);
  return fallback == pools_.end() ? nullptr : fallback->second.get();
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
    if (const auto until = requests_.Queued(once, place)) place.pool->Extend(place.waiter, *until);
  };
  search->found = [this, once](const absl::StatusOr<LeaseView>& lease) {
    if (!lease.ok()) {
      for (const auto& waiting : requests_.Failed(once).attempts) waiting->done(lease.status());
      return;
    }
    const RequestTable::Answer answer = requests_.Granted(once, lease->grant.counter);
    if (answer.given_up) EndUnasked(lease->grant.counter, {EndReason::kUnclaimed});
    for (const auto& waiting : answer.attempts) waiting->done(lease);
  };
  Seek(search, pool, 0);
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

absl::StatusOr<Lessor::Proof> Lessor::Prove(absl::string_view token) const {
  std::optional<TokenClaims> claims = DecodeLeaseToken(token, key_);
  if (!claims || claims->lease.replica != options_.replica) return LeaseNotFound();
  return Proof{claims->lease.counter, std::move(claims->tenant)};
}

absl::StatusOr<LeaseCounter> Lessor::Find(absl::string_view lease_id) const {
  const std::optional<LeaseId> id = ParseLeaseId(lease_id);
  if (!id || id->replica != options_.replica) return LeaseNotFound();
  return id->counter;
}

std::optional<std::string> Lessor::TenantOf(LeaseCounter lease) {
  std::optional<LeaseView> view = leases_.View(lease);
  if (!view) return std::nullopt;
  return std::move(view->grant.terms.tenant);
}

std::string Lessor::TokenOf(const LeaseGrant& grant) const {
  return EncodeLeaseToken({IdOf(grant), grant.terms.tenant, options_.server_address}, key_);
}

void Lessor::Release(LeaseCounter lease, Disposition disposition,
                     absl::AnyInvocable<void(absl::StatusOr<Released>)> done) {
  // Shared by the two ways to an answer, of which exactly one is taken.
  auto answer = std::make_shared<decltype(done)>(std::move(done));
  const absl::Status status =
      End(lease, {EndReason::kReleased, disposition}, [answer](const LeaseTable::Ended& ended) {
        if (ended.lease.end_reason != EndReason::kReleased) {
          (*answer)(EndedError(*ended.lease.end_reason));
        } else {
          (*answer)(Released{ended.lease, !ended.by_this_call, ended.transaction_was_open});
        }
      }).status();
  if (!status.ok()) (*answer)(status);
}

absl::StatusOr<LeaseView> Lessor::Renew(LeaseCounter lease, std::optional<Duration> ttl) {
  if (ttl) {
    const std::optional<LeaseView> view = leases_.View(lease);
    if (!view) return LeaseNotFound();
    const absl::StatusOr<Pool*> pool = FindPool(view->grant.pool);
    if (!pool.ok()) return pool.status();
    const std::shared_ptr<const PoolOptions> options = (*pool)->options();
    ttl = std::clamp(*ttl, options->min_ttl, options->max_ttl);
  }
  absl::StatusOr<LeaseView> renewed = leases_.Renew(lease, ttl, latest_expiry_.load());
  if (renewed.ok() && events_.Wants(EventType::kLeaseRenewed)) {
    events_.Emit(EventOf(EventType::kLeaseRenewed, *renewed));
  }
  return renewed;
}

absl::Status Lessor::WhenEnded(LeaseCounter lease, absl::AnyInvocable<void(const LeaseView&)> ended) {
  return leases_.WhenFenced(
      lease, [ended = std::move(ended)](const LeaseTable::Ended& how) mutable { ended(how.lease); });
}

absl::StatusOr<Lessor::Running> Lessor::Execute(LeaseCounter lease, Statement statement,
                                                std::shared_ptr<StatementSink> sink) {
  absl::StatusOr<LeaseTable::Permit> permit = leases_.TakePermit(lease);
  if (!permit.ok()) return permit.status();
  if (const std::optional<LeaseGrant>& grant = permit->first_of) {
    statement.label =
        LeaseLabel{FormatLeaseId(IdOf(*grant)), grant->fencing_token.value, grant->pool, grant->terms.tenant};
  }
  auto permit_sink =
      std::make_shared<PermitSink>(leases_, lease, permit->statement, statement.sql, std::move(sink));
  const StatementKey key{lease, permit->statement};
  permit->connection->Execute(key, std::move(statement), std::move(permit_sink));
  return Running{key, std::move(permit->connection)};
}

absl::StatusOr<std::vector<PoolView>> Lessor::Stats(absl::string_view name) {
  std::vector<PoolView> views;
  if (!name.empty()) {
    const absl::StatusOr<Pool*> pool = FindPool(name);
    if (!pool.ok()) return pool.status();
    views.push_back((*pool)->View());
    return views;
  }
  for (const auto& [unused, pool] : pools_) views.push_back(pool->View());
  return views;
}

void Lessor::Tick() {
  for (const LeaseCounter lease : leases_.TakeExpired(kExpiriesPerTick, latest_expiry_.load())) {
    EndUnasked(lease, {EndReason::kExpired});
  }
  for (const auto& [lease, look] : leases_.TakeRemiss(kExpiriesPerTick)) {
    if (look.leak_suspected) EmitLeakSuspected(lease);
    if (look.idle_too_long != nullptr) {
      EndUnasked(lease, {EndReason::kRevoked, Disposition::kReturn, look.idle_too_long});
    }
  }
  const RequestTable::Due due = requests_.TakeDue(clock_.Now());
  for (const LeaseCounter lease : due.unclaimed) EndUnasked(lease, {EndReason::kUnclaimed});
  for (const RequestTable::Place& place : due.places) place.pool->Cancel(place.waiter);
  for (const auto& attempt : due.late)
    attempt->done(attempt->pool->WaitedInVain(attempt->tenant, attempt->since));
  for (const LeaseCounter lease : leases_.ForgetOld()) requests_.Forget(lease);
  for (const auto& [name, pool] : pools_) pool->Tick();
}

void Lessor::Drain(Time deadline) {
  latest_expiry_ = deadline;
  if (events_.Wants(EventType::kDrainStarted)) events_.Emit({.type = EventType::kDrainStarted});
  for (const auto& [name, pool] : pools_) pool->Drain();
}

void Lessor::CloseAll() {
  for (const LeaseCounter lease : leases_.Select([](const Lease&, Time) { return true; })) {
    EndUnasked(lease, {EndReason::kDrained, Disposition::kDiscard});
  }
  for (const auto& [name, pool] : pools_) pool->CloseAll();
}

bool Lessor::Warm() {
  return std::all_of(pools_.begin(), pools_.end(), [](const auto& entry) { return entry.second->Warm(); });
}

int32_t Lessor::InUse() {
  int32_t in_use = 0;
  for (const auto& [name, pool] : pools_) in_use += pool->InUse();
  return in_use;
}

bool Lessor::Empty() {
  return std::all_of(pools_.begin(), pools_.end(), [](const auto& entry) { return entry.second->Empty(); });
}

absl::StatusOr<Pool*> Lessor::FindPool(absl::string_view name) const {
  const auto pool = pools_.find(name);
  if (pool != pools_.end()) return pool->second.get();
  return MakeError(absl::StatusCode::kNotFound, absl::StrCat("there is no pool named \"", name, "\""),
                   {.reason = reason::kPoolNotFound});
}

absl::StatusOr<bool> Lessor::End(LeaseCounter lease, LeaseEnding ending, LeaseTable::OnFenced on_fenced) {
  absl::StatusOr<std::optional<LeaseTable::EndWork>> work =
      leases_.End(lease, ending.reason, std::move(on_fenced));
  if (!work.ok()) return work.status();
  if (*work) CarryOut(lease, **work, std::move(ending));
  return work->has_value();
}

void Lessor::EndUnasked(LeaseCounter lease, LeaseEnding ending) {
  // The one way to fail is that it has ended so long ago that it is forgotten.
  End(lease, std::move(ending), [](const LeaseTable::Ended&) {}).status().IgnoreError();
}

void Lessor::CarryOut(LeaseCounter lease, const LeaseTable::EndWork& work, LeaseEnding ending) {
  Pool& pool = *work.pool;
  const SlotRef slot = work.slot;
  const EndReason reason = work.reason;
  Connection& connection = *work.connection;
  const bool discard = ending.disposition == Disposition::kDiscard || connection.lost();
  if (!work.has_run_a_statement && !discard) {
    // Nothing of this holder ever reached the connection, so the fence stands, and it is as clean as it was.
    auto tell = leases_.Fenced(lease, {});
    EmitEnded(lease, reason, ending.why);
    pool.Return(slot, reason);
    tell();
    return;
  }
  auto fenced = [this, &pool, slot, lease, reason, discard,
                 why = std::move(ending.why)](Connection::FenceReport report) {
    auto tell = leases_.Fenced(lease, report);
    EmitEnded(lease, reason, why);
    if (discard) {
      pool.Discard(slot, reason);
    } else {
      pool.BeginClean(slot, reason);
    }
    tell();
  };
  if (discard) {
    connection.Fence(lease, std::move(fenced));
  } else {
    connection.Clean(lease, std::move(fenced),
                     [&pool, slot](const Connection::CleanReport& report) { pool.Cleaned(slot, report); });
  }
}

void Lessor::EmitGranted(const LeaseView& lease) const {
  for (const EventType type : {EventType::kLeaseGranted, EventType::kConnectionLeased}) {
    if (events_.Wants(type)) events_.Emit(EventOf(type, lease));
  }
}

void Lessor::EmitEnded(LeaseCounter lease, EndReason reason, const std::string& why) {
  const EventType ended = reason == EndReason::kReleased ? EventType::kLeaseReleased : EventType::kLeaseEnded;
  for (const EventType type : {ended, EventType::kConnectionReleased}) {
    if (!events_.Wants(type)) continue;
    const std::optional<LeaseView> view = leases_.View(lease);
    if (!view) return;
    Event event = EventOf(type, *view);
    event.reason = why;
    event.held = clock_.Now() - view->grant.acquired;
    events_.Emit(event);
  }
}

void Lessor::EmitLeakSuspected(LeaseCounter lease) {
  if (!events_.Wants(EventType::kLeaseLeakSuspected)) return;
  const std::optional<LeaseView> view = leases_.View(lease);
  if (!view) return;
  Event event = EventOf(EventType::kLeaseLeakSuspected, *view);
  event.held = clock_.Now() - view->grant.acquired;
  event.tags = view->grant.terms.tags;
  events_.Emit(event);
}

Event Lessor::EventOf(EventType type, const LeaseView& lease) const {
  const LeaseGrant& grant = lease.grant;
  return {.type = type,
          .pool = grant.pool,
          .connection_id = FormatConnectionId(grant.connection, grant.connection_opened),
          .backend_pid = grant.backend_pid,
          .lease = grant.counter,
          .tenant = grant.terms.tenant,
          .holder = grant.terms.holder,
          .end_reason = lease.end_reason,
          .fencing_token = grant.fencing_token,
          .waited = grant.waited};
}

}  // namespace pglessor::core
