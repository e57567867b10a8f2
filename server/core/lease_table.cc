#include "server/core/lease_table.h"

#include <algorithm>

#include "server/core/check.h"
#include "server/core/error.h"

namespace pglessor::core {
namespace {

constexpr StatementId kFirstStatement{1};

}  // namespace

absl::Status LeaseNotFound() {
  return MakeError(absl::StatusCode::kNotFound,
                   "no such lease: the token is not one of this server, or its lease ended too long ago to "
                   "be remembered; acquire another",
                   {.reason = reason::kLeaseNotFound});
}

LeaseView LeaseTable::Insert(LeaseGrant grant, Pool* pool, Granted granted, const LeaseLimits& limits) {
  const LeaseCounter counter = grant.counter;
  auto record = std::make_unique<Record>(std::move(grant), pool, std::move(granted), limits);
  LeaseView view = ViewOf(*record);
  const Time due = record->lease.due();
  const Time look = limits.any() ? record->lease.LookAt(view.grant.acquired).next : Time::max();
  const bool added = leases_.Insert(counter, std::move(record));
  PGLESSOR_CHECK(added, "a lease's counter is given once");
  expiries_.Schedule(counter, due);
  if (look != Time::max()) looks_.Schedule(counter, look);
  return view;
}

std::optional<LeaseView> LeaseTable::View(LeaseCounter lease) {
  std::optional<LeaseView> view;
  leases_.With(lease, [&](const auto& record) { view = ViewOf(*record); });
  return view;
}

absl::StatusOr<LeaseTable::Permit> LeaseTable::TakePermit(LeaseCounter lease) {
  absl::StatusOr<Permit> permit = Permit{};
  const bool known = leases_.With(lease, [&](auto& record) {
    const absl::StatusOr<StatementId> statement = record->lease.TakePermit(clock_.Now());
    if (statement.ok()) {
      permit = Permit{*statement, record->connection, std::nullopt};
      if (*statement == kFirstStatement) permit->first_of = record->lease.grant();
    } else {
      permit = statement.status();
    }
  });
  if (!known) return LeaseNotFound();
  return permit;
}

void LeaseTable::ReturnPermit(LeaseCounter lease, StatementId statement, TransactionState transaction) {
  // A lease forgotten meanwhile has no permit left to return.
  leases_.With(lease,
               [&](auto& record) { record->lease.ReturnPermit(clock_.Now(), statement, transaction); });
}

absl::StatusOr<LeaseView> LeaseTable::Renew(LeaseCounter lease, std::optional<Duration> ttl, Time latest) {
  absl::Status status;
  std::optional<LeaseView> renewed;
  std::optional<Time> sooner;
  const bool known = leases_.With(lease, [&](auto& record) {
    const Time now = clock_.Now();
    const Time before = record->lease.due();
    status = record->lease.Renew(now, ttl, latest);
    if (!status.ok()) return;
    if (record->lease.due() < before) sooner = record->lease.due();
    renewed = ViewOf(*record);
  });
  if (!known) return LeaseNotFound();
  if (!status.ok()) return status;
  if (sooner) expiries_.Schedule(lease, *sooner);
  return *std::move(renewed);
}

Pool* LeaseTable::PoolOf(LeaseCounter lease) {
  Pool* pool = nullptr;
  leases_.With(lease, [&](const auto& record) { pool = record->pool; });
  return pool;
}

absl::StatusOr<std::optional<LeaseTable::EndWork>> LeaseTable::End(LeaseCounter lease, EndReason reason,
                                                                   OnFenced on_fenced) {
  std::optional<EndWork> work;
  std::optional<Ended> stands_already;
  const bool known = leases_.With(lease, [&](auto& record) {
    const Time now = clock_.Now();
    const bool first = record->lease.End(now, reason);
    if (first) {
      work = EndWork{record->pool, record->slot, record->connection, *record->lease.end_reason(),
                     record->lease.has_run_a_statement()};
    }
    if (record->lease.state() != LeaseState::kEnding) {
      stands_already = Ended{ViewOf(*record), first, record->transaction_was_open};
    } else {
      record->on_fenced.emplace_back(first, std::move(on_fenced));
    }
  });
  if (!known) return LeaseNotFound();
  if (stands_already) on_fenced(*stands_already);
  return work;
}

absl::AnyInvocable<void()> LeaseTable::Fenced(LeaseCounter lease, Connection::FenceReport report) {
  std::vector<std::pair<bool, OnFenced>> tell;
  std::optional<Ended> ended;
  std::shared_ptr<Connection> dropped;
  Time now{};
  bool has_request_id = false;
  leases_.With(lease, [&](auto& record) {
    now = clock_.Now();
    record->lease.Fenced();
    record->transaction_was_open = report.transaction_was_open;
    dropped = std::move(record->connection);
    tell = std::move(record->on_fenced);
    ended = Ended{ViewOf(*record), false, report.transaction_was_open};
    has_request_id = record->lease.grant().terms.has_request_id;
  });
  PGLESSOR_CHECK(ended.has_value(), "a lease is not forgotten before it has ended");
  expiries_.Remove(lease);
  looks_.Remove(lease);
  {
    const MutexLock lock(ended_mutex_);
    (has_request_id ? ended_with_request_id_ : ended_).emplace_back(now, lease);
  }
  return [tell = std::move(tell), ended = *std::move(ended)]() mutable {
    for (auto& [by_this_call, on_fenced] : tell) {
      ended.by_this_call = by_this_call;
      on_fenced(ended);
    }
  };
}

absl::Status LeaseTable::WhenFenced(LeaseCounter lease, OnFenced on_fenced) {
  std::optional<Ended> stands_already;
  const bool known = leases_.With(lease, [&](auto& record) {
    if (record->lease.state() == LeaseState::kEnded) {
      stands_already = Ended{ViewOf(*record), false, record->transaction_was_open};
    } else {
      record->on_fenced.emplace_back(false, std::move(on_fenced));
    }
  });
  if (!known) return LeaseNotFound();
  if (stands_already) on_fenced(*stands_already);
  return absl::OkStatus();
}

LeaseTable::Due LeaseTable::TakeDue(size_t limit, absl::FunctionRef<Time(const Pool*)> latest) {
  Due due;
  for (const LeaseCounter lease : expiries_.TakeDue(clock_.Now(), limit)) {
    std::optional<Time> later;
    leases_.With(lease, [&](auto& record) {
      if (record->lease.state() != LeaseState::kActive) return;
      const Time now = clock_.Now();
      if (record->lease.RenewIfDue(now, latest(record->pool))) due.renewed.push_back(lease);
      if (record->lease.Alive(now)) {
        later = record->lease.due();
      } else {
        due.expired.push_back(lease);
      }
    });
    // It was renewed since it was scheduled.
    if (later) expiries_.Schedule(lease, *later);
  }
  return due;
}

std::vector<LeaseTable::Remiss> LeaseTable::TakeRemiss(size_t limit) {
  std::vector<Remiss> remiss;
  for (const LeaseCounter lease : looks_.TakeDue(clock_.Now(), limit)) {
    Lease::Look look;
    leases_.With(lease, [&](auto& record) { look = record->lease.LookAt(clock_.Now()); });
    if (look.next != Time::max()) looks_.Schedule(lease, look.next);
    if (look.idle_too_long != nullptr || look.leak_suspected) remiss.push_back({lease, look});
  }
  return remiss;
}

std::vector<LeaseCounter> LeaseTable::ForgetOld() {
  std::vector<LeaseCounter> without;
  std::vector<LeaseCounter> with;
  {
    const MutexLock lock(ended_mutex_);
    const Time now = clock_.Now();
    const auto too_many = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return ended_.size() + ended_with_request_id_.size() > options_.max_ended;
    };
    while (ForgetOldest(ended_, too_many(), now, without)) continue;
    while (ForgetOldest(ended_with_request_id_, too_many(), now, with)) continue;
  }
  for (const LeaseCounter lease : without) leases_.Erase(lease);
  for (const LeaseCounter lease : with) leases_.Erase(lease);
  return with;
}

bool LeaseTable::ForgetOldest(EndedList& list, bool too_many, Time now,
                              std::vector<LeaseCounter>& forgotten) {
  if (list.empty()) return false;
  const auto [ended, lease] = list.front();
  if (!too_many && now - ended < options_.ended_retention) return false;
  forgotten.push_back(lease);
  list.pop_front();
  return true;
}

std::vector<LeaseCounter> LeaseTable::Select(absl::FunctionRef<bool(const Lease&, Time)> wanted) const {
  return Page(std::nullopt, SIZE_MAX, [&](const Lease& lease) {
    return lease.state() == LeaseState::kActive && wanted(lease, clock_.Now());
  });
}

std::vector<LeaseCounter> LeaseTable::Page(std::optional<LeaseCounter> after, size_t limit,
                                           absl::FunctionRef<bool(const Lease&)> wanted) const {
  const auto project = [&](LeaseCounter, const auto& record) {
    return wanted(record->lease) ? std::optional<bool>(true) : std::nullopt;
  };
  std::vector<LeaseCounter> page;
  for (const auto& [counter, unused] : leases_.Page(after, limit, project)) page.push_back(counter);
  return page;
}

LeaseView LeaseTable::ViewOf(const Record& record) {
  const LeaseGrant& grant = record.lease.grant();
  return {grant, record.lease.state(), record.lease.end_reason(), record.lease.ttl(),
          grant.acquired_wall + (record.lease.expiry() - grant.acquired)};
}

}  // namespace pglessor::core
