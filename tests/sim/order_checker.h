// L2 and L3: who is served is who the rules name (wait_queue.h), judged by the ledger alone.
//
//   1. Within a tenant, exactly: nobody of a lower standing, and of an equal one nobody that came later, is
//      served while another waits. A standing is the priority, one higher for each age_step waited.
//   2. Between tenants that may both have the connection, exactly: nobody of a lower standing. Of an equal
//   one
//      a tenant is passed at most (their weight / its weight + 2) times by each other between two turns.
//
// The second is judged only where every tenant that waits fits every connection: one role, no isolation by
// connection, no guarantees.
#pragma once

#include <cstdint>
#include <map>
#include <string>
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
  // How often a tenant that waits was passed by each other, in its present standing.
  struct Passed {
    int standing = 0;
    std::map<std::string, int32_t> by;
  };

  int Standing(const AcquireRecord& acquire) const;
  bool AnyFitsAll() const;
  bool HasRoom(const std::string& tenant) const;
  void Compare(const AcquireRecord& served, const AcquireRecord& other) const;
  void CountTurn(const AcquireRecord& served, const std::vector<const AcquireRecord*>& others);

  std::vector<Served> served_;                 // in this step
  std::map<std::string, int32_t> given_back_;  // by tenant, in this step
  std::map<std::string, Passed> passed_;
};

}  // namespace pglessor::core::sim
