#include "server/core/lessor.h"

#include <algorithm>
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
    leases_.ReturnPermit(lease_, id_);
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

Lessor::Lessor(const LessorOptions& options, const Clock& clock, const TokenKey& key)
    : options_(options), clock_(clock), key_(key), leases_(clock, options.leases) {}

void Lessor::AddPool(const PoolOptions& options, Connector& connector, FencingSource& fencing) {
  pools_.emplace(options.name,
                 std::make_unique<Pool>(options, clock_, connector, fencing, [this](LeaseCounter lease) {
                   EndUnasked(lease, EndReason::kConnectionLost, Disposition::kDiscard);
                 }));
}

void Lessor::Start() {
  for (const auto& [name, pool] : pools_) pool->Start();
}

Lessor::Ticket Lessor::Acquire(AcquireRequest request, Acquired acquired) {
  const absl::StatusOr<Pool*> found = FindPool(request.pool);
  if (!found.ok()) {
    acquired(found.status());
    return {};
  }
  Pool& pool = **found;
  const Duration wait = request.wait.value_or(pool.options().acquire_timeout);
  const WaiterId waiter =
      pool.Acquire(wait, [this, &pool, request = std::move(request),
                          acquired = std::move(acquired)](absl::StatusOr<Granted> granted) mutable {
        Grant(pool, std::move(request), std::move(granted), acquired);
      });
  return {&pool, waiter};
}

void Lessor::Grant(Pool& pool, AcquireRequest request, absl::StatusOr<Granted> granted, Acquired& acquired) {
  if (!granted.ok()) {
    acquired(granted.status());
    return;
  }
  const PoolOptions& options = pool.options();
  LeaseGrant grant;
  grant.counter = LeaseCounter{++last_lease_};
  grant.pool = options.name;
  grant.terms = {std::move(request.tenant), std::move(request.holder),
                 std::clamp(request.ttl.value_or(options.default_ttl), options.min_ttl, options.max_ttl),
                 request.priority, std::move(request.tags)};
  grant.connection = granted->slot.slot.index;
  grant.connection_id = std::move(granted->connection_id);
  grant.backend_pid = granted->connection->backend_pid();
  grant.fencing_token = granted->slot.fencing_token;
  grant.acquired = granted->slot.at;
  grant.acquired_wall = clock_.WallNow();
  grant.waited = granted->slot.waited;

  const LeaseCounter counter = grant.counter;
  const std::shared_ptr<Connection> connection = granted->connection;
  LeaseView view = leases_.Insert(std::move(grant), &pool, *std::move(granted), options.max_lease_lifetime);
  // The backend may die at any point of this. Either its loss finds the lease bound, or we find it lost.
  pool.Bind(view.grant.connection, counter);
  if (connection->lost()) {
    EndUnasked(counter, EndReason::kConnectionLost, Disposition::kDiscard);
  }
  acquired(std::move(view));
}

void Lessor::CancelAcquire(Ticket ticket) {
  if (ticket.pool != nullptr) ticket.pool->Cancel(ticket.waiter);
}

void Lessor::EndUnclaimed(LeaseCounter lease) {
  EndUnasked(lease, EndReason::kUnclaimed, Disposition::kReturn);
}

absl::StatusOr<LeaseCounter> Lessor::Prove(absl::string_view token) const {
  const std::optional<TokenClaims> claims = DecodeLeaseToken(token, key_);
  if (!claims || claims->lease.replica != options_.replica) return LeaseNotFound();
  return claims->lease.counter;
}

absl::StatusOr<LeaseCounter> Lessor::Find(absl::string_view lease_id) const {
  const std::optional<LeaseId> id = ParseLeaseId(lease_id);
  if (!id || id->replica != options_.replica) return LeaseNotFound();
  return id->counter;
}

std::string Lessor::TokenOf(const LeaseGrant& grant) const {
  return EncodeLeaseToken({IdOf(grant), grant.terms.tenant, options_.server_address}, key_);
}

void Lessor::Release(LeaseCounter lease, Disposition disposition,
                     absl::AnyInvocable<void(absl::StatusOr<Released>)> done) {
  // Shared by the two ways to an answer, of which exactly one is taken.
  auto answer = std::make_shared<decltype(done)>(std::move(done));
  const absl::Status status =
      End(lease, EndReason::kReleased, disposition, [answer](const LeaseTable::Ended& ended) {
        if (ended.lease.end_reason != EndReason::kReleased) {
          (*answer)(EndedError(*ended.lease.end_reason));
        } else {
          (*answer)(Released{ended.lease, !ended.by_this_call, ended.transaction_was_open});
        }
      });
  if (!status.ok()) (*answer)(status);
}

absl::StatusOr<LeaseView> Lessor::Renew(LeaseCounter lease, std::optional<Duration> ttl) {
  if (ttl) {
    const std::optional<LeaseView> view = leases_.View(lease);
    if (!view) return LeaseNotFound();
    const absl::StatusOr<Pool*> pool = FindPool(view->grant.pool);
    if (!pool.ok()) return pool.status();
    ttl = std::clamp(*ttl, (*pool)->options().min_ttl, (*pool)->options().max_ttl);
  }
  return leases_.Renew(lease, ttl);
}

void Lessor::Expire(LeaseCounter lease, EndReason reason,
                    absl::AnyInvocable<void(absl::StatusOr<Expired>)> done) {
  auto answer = std::make_shared<decltype(done)>(std::move(done));
  const absl::Status status =
      End(lease, reason, Disposition::kReturn, [answer](const LeaseTable::Ended& ended) {
        (*answer)(Expired{ended.lease, ended.by_this_call});
      });
  if (!status.ok()) (*answer)(status);
}

absl::StatusOr<Lessor::Running> Lessor::Execute(LeaseCounter lease, Statement statement,
                                                std::shared_ptr<StatementSink> sink) {
  absl::StatusOr<LeaseTable::Permit> permit = leases_.TakePermit(lease);
  if (!permit.ok()) return permit.status();
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
  for (const LeaseCounter lease : leases_.TakeExpired(kExpiriesPerTick)) {
    EndUnasked(lease, EndReason::kExpired, Disposition::kReturn);
  }
  leases_.ForgetOld();
  for (const auto& [name, pool] : pools_) pool->Tick();
}

void Lessor::Drain() {
  for (const auto& [name, pool] : pools_) pool->Drain();
}

void Lessor::CloseAll() {
  for (const LeaseCounter lease : leases_.Live()) {
    EndUnasked(lease, EndReason::kDrained, Disposition::kDiscard);
  }
  for (const auto& [name, pool] : pools_) pool->CloseAll();
}

bool Lessor::Warm() {
  return std::all_of(pools_.begin(), pools_.end(), [](const auto& entry) {
    Pool& pool = *entry.second;
    return pool.Available() + pool.InUse() >= pool.options().min_connections;
  });
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
  const auto pool = pools_.find(std::string(name));
  if (pool != pools_.end()) return pool->second.get();
  return MakeError(absl::StatusCode::kNotFound, absl::StrCat("there is no pool named \"", name, "\""),
                   {.reason = reason::kPoolNotFound});
}

absl::Status Lessor::End(LeaseCounter lease, EndReason reason, Disposition disposition,
                         LeaseTable::OnFenced on_fenced) {
  absl::StatusOr<std::optional<LeaseTable::EndWork>> work = leases_.End(lease, reason, std::move(on_fenced));
  if (!work.ok()) return work.status();
  if (*work) CarryOut(lease, **work, disposition);
  return absl::OkStatus();
}

void Lessor::EndUnasked(LeaseCounter lease, EndReason reason, Disposition disposition) {
  // The one way to fail is that it has ended so long ago that it is forgotten.
  End(lease, reason, disposition, [](const LeaseTable::Ended&) {}).IgnoreError();
}

void Lessor::CarryOut(LeaseCounter lease, const LeaseTable::EndWork& work, Disposition disposition) {
  Pool& pool = *work.pool;
  const SlotRef slot = work.slot;
  const EndReason reason = work.reason;
  Connection& connection = *work.connection;
  if (!work.has_run_a_statement && disposition == Disposition::kReturn && !connection.lost()) {
    // Nothing of this holder ever reached the connection, so the fence stands, and it is as clean as it was.
    auto tell = leases_.Fenced(lease, {});
    pool.Return(slot, reason);
    tell();
    return;
  }
  if (disposition == Disposition::kDiscard || connection.lost()) {
    connection.Fence(lease, [this, &pool, slot, lease, reason](Connection::FenceReport report) {
      auto tell = leases_.Fenced(lease, report);
      pool.Discard(slot, reason);
      tell();
    });
    return;
  }
  connection.Clean(
      lease,
      [this, &pool, slot, lease, reason](Connection::FenceReport report) {
        auto tell = leases_.Fenced(lease, report);
        pool.BeginClean(slot, reason);
        tell();
      },
      [&pool, slot](const Connection::CleanReport& report) { pool.Cleaned(slot, report); });
}

}  // namespace pglessor::core
