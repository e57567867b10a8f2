// Faults on purpose: which of a pool's occasions fail, for whoever tests what his program does then.
//
// A server that was not started for it has none of this. Each fault draws from random numbers of its own, one
// for each of its occasions: the same seed and the same order of occasions give the same failures.
//
// Threads: any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "server/core/clock.h"
#include "server/core/connection.h"
#include "server/core/executor.h"
#include "server/core/mutex.h"

namespace pglessor::core {

enum class FaultKind {
  kOpenFails,
  kOpenHangs,         // for `delay`, or until it times out
  kValidationFails,   // a probe
  kStatementDelayed,  // held back for `delay` before it is sent
  kConnectionCut,     // when a statement was sent and is not answered yet
};
inline constexpr size_t kFaultKinds = 5;

struct Fault {
  FaultKind kind = FaultKind::kOpenFails;
  double probability = 1;  // of each occasion; above 0, at most 1
  int32_t count = 0;       // after so many failures it is gone; 0 = it stays
  uint64_t seed = 0;
  std::optional<Duration> delay = std::nullopt;
};

// Of one pool: at most one fault of each kind.
class Faults {
 public:
  // In place of one of its kind.
  void Set(const Fault& fault);
  void Clear();

  // An occasion: the fault, if it is to fail.
  std::optional<Fault> Strike(FaultKind kind);

 private:
  struct Active {
    Fault fault;
    std::mt19937_64 random;
  };

  Mutex mutex_;
  std::array<std::optional<Active>, kFaultKinds> active_ ABSL_GUARDED_BY(mutex_);
};

class FaultInjection {
 public:
  // What its connections do later, they do on `executor`, which must be the strand of those that it wraps.
  FaultInjection(const Clock& clock, Executor& executor) : clock_(clock), executor_(executor) {}

  // `connector` for the pool of that name, with faults of its own. Lives as long as this, and needs
  // `connector`.
  Connector& Wrap(const std::string& pool, Connector& connector);

  // Of the last pool of that name. Requires: a connector of it was wrapped.
  Faults& Of(const std::string& pool);

 private:
  struct Pool {
    Faults faults;
    std::unique_ptr<Connector> connector;
  };

  const Clock& clock_;
  Executor& executor_;

  Mutex mutex_;
  std::deque<Pool> pools_ ABSL_GUARDED_BY(mutex_);  // also those that were removed: they stay where they are
  std::map<std::string, Pool*> by_name_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pglessor::core
