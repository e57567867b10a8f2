#include "tests/sim/caller.h"

#include <chrono>

#include "absl/strings/str_cat.h"

namespace pglessor::core::sim {

using namespace std::chrono_literals;

AcquireRequest Caller::Draw() {
  Random& random = stage_.random;
  AcquireRequest request;
  request.identity = identity_;
  request.tenant = random.Any(tenants_);
  if (random.Percent(90)) request.ttl = random.Between(10ms, random.Percent(80) ? 600ms : 2500ms);
  request.priority = static_cast<Priority>(random.From(1, 3));
  if (random.Percent(50)) request.request_id = absl::StrCat(identity_, "/", ++requests_);
  return request;
}

void Caller::Think() {
  acquire_ = 0;
  lease_.reset();
  Next(stage_.random.Percent(50) ? 10ms : 300ms, [this] {
    if (retired_) return;
    acquire_ = ledger_.NewAcquire(Draw()).number;
    Call();
  });
}

void Caller::Call() {
  Random& random = stage_.random;
  const uint64_t acquire = acquire_;
  const Duration wait = random.Percent(15) ? 0ms : random.Between(5ms, random.Percent(70) ? 500ms : 2s);
  const uint64_t call = calls_.Acquire(acquire, wait, [this, acquire](uint64_t number, bool granted) {
    stage_.Later(stage_.random.Between(0ms, 5ms),
                 [this, acquire, number, granted] { OnAnswer(acquire, number, granted); });
  });
  if (random.Percent(15)) {
    stage_.Later(random.Between(0ms, wait), [this, acquire, call] { GiveUp(acquire, call); });
  }
  if (ledger_.acquire(acquire).once() && random.Percent(20)) {
    // It asks twice, before it is answered.
    Next(30ms, [this] { Call(); });
  }
}

void Caller::OnAnswer(uint64_t acquire, uint64_t call, bool granted) {
  if (calls_.IsOver(call)) return;
  const bool delivered = !stage_.random.Percent(10);
  calls_.Over(call, delivered);
  if (!AwaitsAnswerOf(acquire)) return;
  if (granted && delivered) {
    lease_ = ledger_.acquire(acquire).lease;
    Hold();
  } else {
    RetryOrThink();
  }
}

void Caller::GiveUp(uint64_t acquire, uint64_t call) {
  if (calls_.IsOver(call)) return;
  calls_.Over(call, /*delivered=*/false);
  if (AwaitsAnswerOf(acquire)) RetryOrThink();
}

void Caller::RetryOrThink() {
  if (retired_ || !ledger_.acquire(acquire_).once() || stage_.random.Percent(40)) return Think();
  // Some retries come when nobody waits for them any more.
  Next(stage_.random.Percent(80) ? 100ms : 1500ms, [this] { Call(); });
}

void Caller::Hold() {
  Next(20ms, [this] {
    const uint64_t choice = stage_.random.Below(100);
    if (retired_ || choice < 25) return LetGo();
    if (choice < 60) return Work();
    if (choice < 70) return Renew();
    if (choice < 92) return Hold();
    // It vanishes: only its lease's end helps.
    Think();
  });
}

void Caller::Work() {
  Random& random = stage_.random;
  static constexpr const char* kStatements[] = {"SELECT", "SELECT", "BEGIN", "COMMIT"};
  const auto running = calls_.Execute(*lease_, kStatements[random.Below(4)], [this] { Hold(); });
  if (!running) return random.Percent(50) ? ComeTooLate(*lease_) : Think();
  if (random.Percent(10)) stage_.Later(random.Between(0ms, 100ms), [running] { running->Cancel(); });
}

void Caller::Renew() {
  const LeaseCounter lease = *lease_;
  std::optional<Duration> ttl;
  if (stage_.random.Percent(50)) ttl = stage_.random.Between(0ms, 1s);
  const auto renew = [this, lease, ttl] { calls_.Renew(lease, ttl) ? Hold() : Think(); };
  if (stage_.random.Percent(60)) return renew();
  // At the very instant of its expiry, or the last one before.
  ++turn_;
  const Duration left = ledger_.lease(lease).expiry - stage_.Now();
  const Duration early = stage_.random.Percent(50) ? Duration::zero() : Duration(1);
  stage_.Later(std::max(left - early, Duration::zero()), renew);
}

void Caller::LetGo() {
  const LeaseCounter lease = *lease_;
  const auto how = stage_.random.Percent(10) ? Disposition::kDiscard : Disposition::kReturn;
  calls_.Release(lease, how);
  if (stage_.random.Percent(20)) calls_.Release(lease, how);
  stage_.random.Percent(25) ? ComeTooLate(lease) : Think();
}

void Caller::ComeTooLate(LeaseCounter lease) {
  Next(100ms, [this, lease] {
    if (stage_.random.Percent(50)) {
      calls_.Renew(lease, std::nullopt);
    } else {
      calls_.Execute(lease, "SELECT", [] {});
    }
    Think();
  });
}

}  // namespace pglessor::core::sim
