// What befalls PostgreSQL as a whole, each for a while: it crashes, refuses, hangs, is full, or forgets.
#pragma once

#include "tests/sim/postgres.h"
#include "tests/sim/stage.h"
#include "tests/support/fake_fencing_source.h"

namespace pglessor::core::sim {

class Disasters {
 public:
  // On average one every `between`; zero = none.
  Disasters(Stage& stage, Postgres& postgres, test::FakeFencingSource& fencing, Duration between)
      : stage_(stage), postgres_(postgres), fencing_(fencing), between_(between) {}

  void Start() { Next(); }
  // None happens any more, and what goes on is over.
  void Retire();

 private:
  void Next();
  void Strike();
  void Outage();

  Stage& stage_;
  Postgres& postgres_;
  test::FakeFencingSource& fencing_;
  const Duration between_;
  bool retired_ = false;
};

}  // namespace pglessor::core::sim
