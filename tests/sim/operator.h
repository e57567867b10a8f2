// An operator who resets, expires, pauses and changes the pool while it is used.
#pragma once

#include <cstdint>

#include "server/core/lessor.h"
#include "tests/sim/ledger.h"
#include "tests/sim/stage.h"

namespace pglessor::core::sim {

class Operator {
 public:
  // On average one deed every `between`; zero = none.
  Operator(Stage& stage, Ledger& ledger, Lessor& lessor, Duration between)
      : stage_(stage), ledger_(ledger), lessor_(lessor), between_(between) {}

  void Start() { Next(); }
  // Does nothing more, and resumes what it has paused.
  void Retire();

  bool paused() const { return paused_; }
  // Answers that are still owed.
  int32_t owed() const { return owed_; }

 private:
  void Next();
  void Act();
  void Reset();
  void ExpireSomeLease();
  void ExpireLeases();
  void ExpireConnections();
  void RenewPool();
  void PauseForAWhile();
  void Resume();
  void Reconfigure();

  Stage& stage_;
  Ledger& ledger_;
  Lessor& lessor_;
  const Duration between_;
  bool retired_ = false;
  bool paused_ = false;
  int32_t owed_ = 0;
};

}  // namespace pglessor::core::sim
