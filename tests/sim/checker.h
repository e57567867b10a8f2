// What each checker sees, and how it speaks up.
#pragma once

#include <optional>
#include <utility>

#include "absl/strings/string_view.h"

#include "server/core/events.h"
#include "server/core/pool.h"
#include "tests/sim/calls.h"
#include "tests/sim/ledger.h"
#include "tests/sim/postgres.h"
#include "tests/sim/stage.h"

namespace pglessor::core::sim {

// The run as it stands after a step.
struct Scene {
  Stage& stage;
  const Ledger& ledger;
  const Postgres& postgres;
  PoolView view = {};                                    // what Stats says
  std::optional<Calls::Arrival> arrival = std::nullopt;  // the acquire of this step
  bool grants = false;  // there are fencing tokens, no operator has paused the pool, and it is not draining
  bool draining = false;

  // Of a slot's row. Null for one that is still opening.
  const Backend* BackendOf(const PoolView::Row& row) const {
    return row.backend_pid == 0 ? nullptr : postgres.Find(row.backend_pid);
  }
  // It retires, and its closing has not begun.
  bool IsPutOut(const PoolView::Row& row) const {
    const Backend* const backend = BackendOf(row);
    return row.slot.state == SlotState::kRetiring && backend != nullptr && !backend->fake().closing();
  }
};

// One invariant of docs/reliability.md, or several that are one thought.
class Checker {
 public:
  explicit Checker(const Scene& scene) : scene_(scene) {}
  virtual ~Checker() = default;
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // Before the ledger knows of it.
  virtual void OnEvent(const Event&) {}
  virtual void AfterStep() {}

 protected:
  Time Now() const { return scene_.stage.Now(); }
  const Ledger& ledger() const { return scene_.ledger; }
  const PoolSnapshot& snapshot() const { return scene_.view.snapshot; }
  void Violate(absl::string_view invariant, absl::string_view what) const {
    scene_.stage.history.Violate(invariant, what);
  }

  const Scene& scene_;
};

}  // namespace pglessor::core::sim
