// What holds of numbers: connections, sums, tenants' shares.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>

#include "tests/sim/checker.h"

namespace pglessor::core::sim {

// S7: PostgreSQL never has more backends than max_connections, those that are stuck included. Where the
// maximum is lowered, none is opened until as many have gone.
class BudgetChecker : public Checker {
 public:
  using Checker::Checker;
  void AfterStep() override;

 private:
  int32_t allowed_ = 0;
};

// S7 from below: what operators have replaced never takes the total below the minimum. Judged while nothing
// else does: from a moment when all was at rest, and openings were not backed off, none failed or was waited
// for in vain, nothing was retired for another reason or got stuck, and the limits stayed.
class MinimumChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;
  void AfterStep() override;

 private:
  bool AtRest() const;
  bool WaitedInVain();

  bool excused_ = true;
  Time last_failure_ = Time::min();  // of an opening
  std::map<int32_t, Time> put_out_;  // by pid: since then
};

// S11: the three sums of every Stats answer; and what they count is what PostgreSQL has.
class SumChecker : public Checker {
 public:
  using Checker::Checker;
  void AfterStep() override;
};

// S10: no tenant has or waits for more than its quota, none is granted what another is guaranteed, and none
// acquires more often than its rate. And none is refused for its quota that has room.
class QuotaChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;
  void AfterStep() override;

 private:
  void OnGrant(const std::string& tenant) const;

  // Over any span at most burst + rate * span acquires come in: of all spans that end now, the one that began
  // where (count - rate * time) was least is the fullest.
  struct Admitted {
    double rate = 0;
    int32_t burst = 0;
    int64_t count = 0;
    double least = std::numeric_limits<double>::max();
  };
  void CheckRate(const std::string& tenant, const TenantLimits& limits);

  std::map<std::string, Admitted> admitted_;
};

}  // namespace pglessor::core::sim
