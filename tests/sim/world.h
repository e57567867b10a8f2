// A whole run from one seed: the core on its fakes, those who use and trouble it, and those who watch over
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/core/lessor.h"
#include "server/core/reaper.h"
#include "tests/sim/caller.h"
#include "tests/sim/calls.h"
#include "tests/sim/checker.h"
#include "tests/sim/disasters.h"
#include "tests/sim/ledger.h"
#include "tests/sim/operator.h"
#include "tests/sim/postgres.h"
#include "tests/sim/scenario.h"
#include "tests/sim/stage.h"
#include "tests/support/fake_fencing_source.h"
#include "tests/support/toy_token_key.h"

namespace pglessor::core::sim {

class World : private EventSink {
 public:
  explicit World(uint64_t seed);

  // Until the end, or the first violation.
  void Run();

  const History& history() const { return stage_.history; }
  History& history() { return stage_.history; }

 private:
  void OnEvent(const Event& event) override;

  // Runs the tasks of so much time, one a step, each followed by all the checkers.
  void RunFor(Duration span);
  void AfterStep();
  // The end, in three parts: without faults everything comes to rest; everybody is served; everything closes.
  void ComeToRest();
  void ServeEachTenant();
  void CloseDown();

  Stage stage_;
  const Scenario scenario_;
  Postgres postgres_{stage_};
  test::FakeFencingSource fencing_{stage_.executor};
  test::ToyTokenKey key_;
  Events events_;
  Lessor lessor_;
  Reaper reaper_{lessor_, stage_.clock, stage_.executor};

  Ledger ledger_;
  Calls calls_{stage_, ledger_, lessor_};
  Operator operator_;
  Disasters disasters_;
  std::vector<std::unique_ptr<Caller>> callers_;

  Scene scene_;
  std::vector<std::unique_ptr<Checker>> checkers_;
};

}  // namespace pglessor::core::sim
