// What holds of things that are under way: they end, and in time.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "tests/sim/checker.h"

namespace pglessor::core::sim {

// What is due is done at most this much late.
inline constexpr Duration kLate = std::chrono::milliseconds(50);

// L1: every call of Acquire is answered by its deadline, or kLate after.
class DeadlineChecker : public Checker {
 public:
  using Checker::Checker;
  void AfterStep() override;
};

// L4: nobody who may have it waits beside a connection that is available to him; nor, for longer than 10 ms,
// beside room for one while nothing is on its way, unless openings are backed off. Nor is anybody refused who
// does not queue while there is room for him and all that wait, and nobody stands in line.
class WakeupChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;
  void AfterStep() override;

 private:
  bool MayHaveOne(const std::string& tenant) const;
  bool Fits(const PoolView::Row& row, const std::string& tenant) const;
  void JudgeRefusal() const;

  std::optional<Time> beside_room_;  // since then
  bool backed_off_ = false;          // the last opening failed, or one did where there are several roles
};

// L5: what a lease had is lent, available, gone or stuck within 1.5 s of the lease's end. What an operator
// had taken out of use may before that wait for others to take its place, as long as an opening may take.
class TransitChecker : public Checker {
 public:
  using Checker::Checker;
  void AfterStep() override;

 private:
  static constexpr Duration kMost = std::chrono::milliseconds(1500);

  struct Transit {
    Time since{};
    bool put_out = false;  // and not being closed yet
  };

  std::map<int32_t, Transit> transits_;  // by pid
};

// L5 of callers that went before they had the answer: their lease ends once nobody asks for it any more.
class ForsakenChecker : public Checker {
 public:
  using Checker::Checker;
  void AfterStep() override;
};

// L6: an opening that succeeds closes the breaker; and where the minimum is not open and nothing is on its
// way, the next opening begins within the longest backoff.
class BreakerChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;
  void AfterStep() override;

 private:
  bool opened_ = false;  // in this step
  bool failed_ = false;
  std::optional<Time> short_;  // since then
};

}  // namespace pglessor::core::sim
