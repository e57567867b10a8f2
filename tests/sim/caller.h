// One caller: acquires, waits, works, and lets go; or gives up, vanishes, repeats itself, comes too late.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/calls.h"
#include "tests/sim/ledger.h"
#include "tests/sim/stage.h"

namespace pglessor::core::sim {

// It acts in tasks of its own only, never inside an answer: as a caller behind a network does.
class Caller {
 public:
  Caller(Stage& stage, Ledger& ledger, Calls& calls, std::string identity, std::vector<std::string> tenants)
      : stage_(stage),
        ledger_(ledger),
        calls_(calls),
        identity_(std::move(identity)),
        tenants_(std::move(tenants)) {}

  void Start() { Think(); }
  // Acquires no more, and lets go what it has.
  void Retire() { retired_ = true; }

 private:
  AcquireRequest Draw();
  void Think();
  void Call();
  void OnAnswer(uint64_t acquire, uint64_t call, bool granted);
  void GiveUp(uint64_t acquire, uint64_t call);
  void RetryOrThink();
  void Hold();
  void Work();
  void Renew();
  void LetGo();
  void ComeTooLate(LeaseCounter lease);

  // Whether it still cares for the answers of that acquire.
  bool AwaitsAnswerOf(uint64_t acquire) const { return acquire == acquire_ && !lease_; }
  // The one thing that it does next: what was to be next before is not done.
  template <typename Step>
  void Next(Duration within, Step step) {
    const uint64_t turn = ++turn_;
    stage_.Later(stage_.random.Between(Duration::zero(), within), [this, turn, step = std::move(step)] {
      if (turn == turn_) step();
    });
  }

  Stage& stage_;
  Ledger& ledger_;
  Calls& calls_;
  const std::string identity_;
  const std::vector<std::string> tenants_;
  bool retired_ = false;

  uint64_t turn_ = 0;
  uint64_t requests_ = 0;
  uint64_t acquire_ = 0;
  std::optional<LeaseCounter> lease_;
};

}  // namespace pglessor::core::sim
