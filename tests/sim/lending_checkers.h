// What holds of each grant: whose connection it is, and with which number.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "tests/sim/checker.h"

namespace pglessor::core::sim {

// S1: a connection is lent to one lease at a time, by the events and by Stats.
class ExclusiveChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;
  void AfterStep() override;

 private:
  std::map<int32_t, LeaseCounter> lent_;  // by pid
};

// S4: what is lent is alive, clean, and not on its way out, by its backend's own knowledge.
class CleanChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;
};

// S2: fencing tokens rise with each grant. Those of one step may be told in another order than given.
class FencingChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;
  void AfterStep() override;

 private:
  FencingToken highest_;
  std::vector<FencingToken> of_this_step_;
};

// S9: an acquire has one lease for as long as the first is remembered, and only one that somebody waits for.
class OnceChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;
};

// S16, and what goes with it: leases end as expired when they are, and no sooner.
class TermChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;
};

}  // namespace pglessor::core::sim
