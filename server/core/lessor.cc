#include "server/core/lessor.h"

#include <utility>

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

Lessor::Lessor(const LessorOptions& options, const Clock& clock, const TokenKey& key, const Events& events)
    : options_(options), clock_(clock), key_(key), events_(events), leases_(clock, options.leases) {}

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
  Pool* const pool = leases_.PoolOf(lease);
  if (pool == nullptr) return LeaseNotFound();
  if (ttl) {
    const std::shared_ptr<const PoolOptions> options = pool->options();
    ttl = std::clamp(*ttl, options->min_ttl, options->max_ttl);
  }
  absl::StatusOr<LeaseView> renewed = leases_.Renew(lease, ttl, LatestExpiry(*pool));
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
    const absl::StatusOr<Pool*> pool = FindShownPool(name);
    if (!pool.ok()) return pool.status();
    views.push_back((*pool)->View());
    return views;
  }
  for (Pool* const pool : pools_.Shown()) views.push_back(pool->View());
  return views;
}

void Lessor::Tick() {
  const auto latest = [this](const Pool* pool) { return LatestExpiry(*pool); };
  const LeaseTable::Due leases = leases_.TakeDue(kExpiriesPerTick, latest);
  for (const LeaseCounter lease : leases.expired) EndUnasked(lease, {EndReason::kExpired});
  for (const LeaseCounter lease : leases.renewed) EmitRenewed(lease);
  for (const auto& [lease, look] : leases_.TakeRemiss(kExpiriesPerTick)) {
    if (look.leak_suspected) EmitLeakSuspected(lease);
    if (look.idle_too_long != nullptr) {
      EndUnasked(lease, {EndReason::kRevoked, Disposition::kReturn, look.idle_too_long});
    }
  }
  const RequestTable::Due due = requests_.TakeDue(clock_.Now());
  // In this order, since what ends may at once be granted to who waits.
  for (const RequestTable::Place& place : due.places) place.pool->Cancel(place.waiter);
  for (const LeaseCounter lease : due.unclaimed) EndUnasked(lease, {EndReason::kUnclaimed});
  for (const auto& attempt : due.late)
    attempt->done(attempt->pool->WaitedInVain(attempt->tenant, attempt->since));
  for (const LeaseCounter lease : leases_.ForgetOld()) requests_.Forget(lease);
  for (Pool* const pool : pools_.All()) pool->Tick();
  for (Pool* const pool : pools_.Leaving()) SeeOff(*pool);
}

void Lessor::Drain(Time deadline) {
  latest_expiry_ = deadline;
  draining_ = true;
  if (events_.Wants(EventType::kDrainStarted)) events_.Emit({.type = EventType::kDrainStarted});
  for (Pool* const pool : pools_.All()) pool->Drain();
}

void Lessor::CloseAll() {
  for (const LeaseCounter lease : leases_.Select([](const Lease&, Time) { return true; })) {
    EndUnasked(lease, {EndReason::kDrained, Disposition::kDiscard});
  }
  for (Pool* const pool : pools_.All()) pool->CloseAll();
}

bool Lessor::Warm() {
  const std::vector<Pool*> pools = pools_.Living();
  return std::all_of(pools.begin(), pools.end(), [](Pool* pool) { return pool->Warm(); });
}

int32_t Lessor::InUse() {
  int32_t in_use = 0;
  for (Pool* const pool : pools_.All()) in_use += pool->InUse();
  return in_use;
}

bool Lessor::Empty() {
  const std::vector<Pool*> pools = pools_.All();
  return std::all_of(pools.begin(), pools.end(), [](Pool* pool) { return pool->Empty(); });
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

void Lessor::EmitRenewed(LeaseCounter lease) {
  if (!events_.Wants(EventType::kLeaseRenewed)) return;
  if (const std::optional<LeaseView> view = leases_.View(lease)) {
    events_.Emit(EventOf(EventType::kLeaseRenewed, *view));
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
