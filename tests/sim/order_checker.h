// L2 and L3: who is served is who the rules name (wait_queue.h), judged by the ledger alone.
//
//   1. Within a tenant, exactly: nobody of a lower standing, and of an equal one nobody that came later, is
//      served while another waits. A standing is the priority, one higher for each age_step waited.
//   2. Between tenants that may both have the connection, exactly: nobody of a lower standing. Of an equal
//   one
//      they take turns: while both wait, what each was served, divided by its weight, differs by no more than
//      one turn of each. (Not judged once the options have changed.)
//
// The second is judged only where every tenant that waits fits every connection: one role, no isolation by
// connection, no guarantees.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/sim/checker.h"

namespace pglessor::core::sim {

class OrderChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;
  void AfterStep() override;

 private:
  struct Served {
    FencingToken token;
    uint64_t acquire = 0;
  };
  // Two tenants, the first by name before the second, that wait in one standing without a break.
  using Rivals = std::tuple<int, std::string, std::string>;

  int Standing(const AcquireRecord& acquire) const;
  bool AnyFitsAll() const;
  bool HasRoom(const std::string& tenant) const;
  void Compare(const AcquireRecord& served, const AcquireRecord& other) const;
  void CountTurn(const AcquireRecord& served, const std::vector<const AcquireRecord*>& others);
  void JudgeTurns(const Rivals& rivals, const std::pair<int32_t, int32_t>& turns) const;

  std::vector<Served> served_;                           // in this step
  std::map<std::string, int32_t> given_back_;            // by tenant, in this step
  std::map<Rivals, std::pair<int32_t, int32_t>> turns_;  // how often each was served
  std::optional<PoolOptions> first_options_;
};

}  // namespace pglessor::core::sim
