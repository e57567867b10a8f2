// S5, and what pool_state.h promises of what is lent: it is of the tenant's role, of the pool's generation,
// not too old, was heard of lately, and where its last holder or this one is isolated by connection, it is of
// one tenant.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tests/sim/checker.h"

namespace pglessor::core::sim {

class FitChecker : public Checker {
 public:
  using Checker::Checker;
  void OnEvent(const Event& event) override;

 private:
  struct Connection {
    uint64_t generation = 0;
    Time opened{};
    Time heard_of{};
    std::string tenant = {};  // its last holder's; empty = nobody had it
    bool apart = false;
  };

  bool IsApart(const std::string& tenant) const;
  void OnGrant(const Event& event);

  uint64_t generation_ = 1;
  std::map<int32_t, Connection> connections_;  // by pid
};

}  // namespace pglessor::core::sim
