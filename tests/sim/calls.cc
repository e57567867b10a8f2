#include "tests/sim/calls.h"

#include "absl/strings/str_cat.h"

#include "server/core/error.h"
#include "tests/support/recording_sink.h"

namespace pglessor::core::sim {

bool HasReason(const absl::Status& status, absl::string_view reason) {
  const std::optional<ErrorDetail> detail = DetailOf(status);
  return detail && detail->reason == reason;
}

uint64_t Calls::Acquire(uint64_t acquire, Duration wait, Answered answered) {
  const AcquireRecord& record = ledger_.acquire(acquire);
  const std::string& tenant = record.request.tenant;
  const uint64_t arrivals = record.arrival;
  arrival_ = Arrival{0, acquire, false, ledger_.InUse(tenant), ledger_.Waiting(tenant), std::nullopt};
  const uint64_t call = ledger_.Called(acquire, wait);
  arrival_->call = call;
  arrival_->at_the_pool = record.arrival != arrivals && !record.uncertain;
  stage_.history.Note(absl::StrCat("acquire ", acquire, ", call ", call, ": ", tenant, ", priority ",
                                   static_cast<int>(record.request.priority), ", waits ",
                                   wait / std::chrono::milliseconds(1), " ms",
                                   record.once() ? ", once" : ""));
  AcquireRequest request = record.request;
  request.wait = wait;
  attempts_[call] = lessor_.Acquire(std::move(request), [this, call, answered = std::move(answered)](
                                                            const absl::StatusOr<LeaseView>& lease) mutable {
    if (arrival_ && arrival_->call == call) arrival_->at_once = lease.status();
    Judge(call, lease);
    answered(call, lease.ok());
  });
  return call;
}

void Calls::Judge(uint64_t call, const absl::StatusOr<LeaseView>& lease) {
  const CallRecord& record = ledger_.call(call);
  const AcquireRecord& acquire = ledger_.acquire(record.acquire);
  if (record.answered) return stage_.history.Violate("L1", absl::StrCat("call ", call, " is answered twice"));
  ledger_.Answered(call, lease.ok());
  if (!lease.ok()) {
    stage_.history.Note(absl::StrCat("call ", call, " is refused: ", lease.status().message()));
    return;
  }
  const LeaseCounter counter = lease->grant.counter;
  stage_.history.Note(absl::StrCat("call ", call, " has lease ", counter.value));
  if (acquire.lease != counter) {
    stage_.history.Violate(
        "S9", absl::StrCat("call ", call, " is told of lease ", counter.value, ", and acquire ",
                           acquire.number, " was granted ", acquire.lease ? acquire.lease->value : 0));
  }
}

void Calls::Over(uint64_t call, bool delivered) {
  stage_.history.Note(absl::StrCat("call ", call, " is over", delivered ? "" : ", undelivered"));
  ledger_.Over(call, delivered);
  const auto attempt = attempts_.extract(call);
  lessor_.Over(attempt.mapped(), delivered);
  if (!ledger_.call(call).answered) {
    stage_.history.Violate("L1", absl::StrCat("call ", call, " is over, and its place is kept"));
  }
}

bool Calls::Renew(LeaseCounter lease, std::optional<Duration> ttl) {
  const LeaseRecord before = ledger_.lease(lease);
  const absl::StatusOr<LeaseView> renewed = lessor_.Renew(lease, ttl);
  stage_.history.Note(absl::StrCat("renew of lease ", lease.value, renewed.ok() ? "" : " is refused"));
  const bool alive = before.AliveAt(stage_.Now()) && !before.end_asked;
  if (renewed.ok() && !alive) {
    stage_.history.Violate("S16", absl::StrCat("lease ", lease.value, " is renewed after its end"));
  } else if (!renewed.ok() && alive && HasReason(renewed.status(), reason::kLeaseExpired)) {
    stage_.history.Violate("S16", absl::StrCat("lease ", lease.value, " is said to have expired, and lives"));
  }
  if (!renewed.ok()) return false;
  ledger_.Renewed(lease, ttl);
  const LeaseRecord& after = ledger_.lease(lease);
  if (renewed->ttl != after.expiry - stage_.Now()) {
    stage_.history.Violate("S16",
                           absl::StrCat("lease ", lease.value, " is renewed for ", renewed->ttl.count(),
                                        " ns and not for ", (after.expiry - stage_.Now()).count()));
  }
  return true;
}

void Calls::Release(LeaseCounter lease, Disposition disposition) {
  stage_.history.Note(absl::StrCat("release of lease ", lease.value));
  ledger_.EndAsked(lease);
  ++owed_;
  lessor_.Release(lease, disposition, [this, lease](const absl::StatusOr<Lessor::Released>& released) {
    --owed_;
    const LeaseRecord& record = ledger_.lease(lease);
    if (released.ok() && record.ended != EndReason::kReleased) {
      stage_.history.Violate("S8",
                             absl::StrCat("lease ", lease.value, " is said to be released, and is not"));
    }
  });
}

std::optional<Lessor::Running> Calls::Execute(LeaseCounter lease, const char* sql,
                                              absl::AnyInvocable<void()> ended) {
  const LeaseRecord& record = ledger_.lease(lease);
  Statement statement;
  statement.sql = sql;
  auto sink = std::make_shared<test::RecordingSink>([this, ended = std::move(ended)]() mutable {
    --owed_;
    ended();
  });
  const absl::StatusOr<Lessor::Running> running =
      lessor_.Execute(lease, std::move(statement), std::move(sink));
  stage_.history.Note(absl::StrCat("lease ", lease.value, " runs ", sql, running.ok() ? "" : ": refused"));
  if (!running.ok()) return std::nullopt;
  ++owed_;
  ledger_.Claimed(lease);
  if (!record.AliveAt(stage_.Now()) || record.end_asked) {
    stage_.history.Violate("S8", absl::StrCat("a statement runs on lease ", lease.value, " after its end"));
  }
  return *running;
}

}  // namespace pglessor::core::sim
