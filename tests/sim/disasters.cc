#include "tests/sim/disasters.h"

#include <chrono>

namespace pglessor::core::sim {

using namespace std::chrono_literals;

void Disasters::Next() {
  if (between_ == Duration::zero()) return;
  stage_.Later(stage_.random.Between(0ms, between_ * 2), [this] {
    if (retired_) return;
    Strike();
    Next();
  });
}

void Disasters::Strike() {
  switch (stage_.random.Below(4)) {
    case 0:
      return postgres_.KillOne();
    case 1:
      stage_.history.Note("a fencing block that lies below all before it");
      fencing_.Give({1, 100});
      // The next one takes its time: meanwhile there is only what was there before.
      fencing_.Hold();
      stage_.Later(stage_.random.Between(0ms, 300ms), [this] { fencing_.GiveNext(); });
      return;
    default:
      return Outage();
  }
}

void Disasters::Outage() {
  using Openings = Postgres::Openings;
  if (!postgres_.reachable()) return;
  if (stage_.random.Percent(60)) postgres_.KillAll();
  const Openings how = stage_.random.Any(std::vector<Openings>{
      Openings::kRefused, Openings::kHang, Openings::kTooMany, Openings::kBadCredentials});
  stage_.history.Note("an outage begins");
  postgres_.SetOpenings(how);
  stage_.Later(stage_.random.Between(10ms, stage_.random.Percent(70) ? 600ms : 2500ms), [this] {
    stage_.history.Note("the outage is over");
    postgres_.SetOpenings(Openings::kSucceed);
    // The control connection is back, with a block of its own.
    fencing_.GiveNext();
  });
}

void Disasters::Retire() {
  retired_ = true;
  postgres_.Calm();
}

}  // namespace pglessor::core::sim
