// The pools of a process, by name: those that live, and those that were removed and are not gone yet.
//
// One pool at most lives under a name, and while a removed one is on its way out, another may be added under
// its name. A name *shows* the one that lives, else the one that was removed last, until it is gone.
//
// Threads: any thread may call. One mutex; nothing is called under it.
// Owns: the pools, also those that have gone, until its own end: leases, acquires and callbacks keep pointers
//   to theirs. One that has gone takes some thirty kilobytes, and holds nothing in PostgreSQL.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"

#include "server/core/mutex.h"
#include "server/core/pool.h"

namespace pglessor::core {

class Pools {
 public:
  // How a removed pool ended: kGone or kGivenUp.
  using Gone = absl::AnyInvocable<void(Pool::Stage)>;

  // Requires: none of its name lives.
  Pool& Add(std::unique_ptr<Pool> pool);
  // It lives no more: `gone` is kept for whoever forgets it. Null, and nothing changed, if none of that name
  // does.
  Pool* Remove(absl::string_view name, Gone& gone);
  // The removed pool is on its way no more. What is returned is for the caller to tell; null if somebody else
  // was first.
  Gone Forget(const Pool& pool);

  // Null if there is none.
  Pool* Find(absl::string_view name) const;
  Pool* FindShown(absl::string_view name) const;

  std::vector<Pool*> Living() const;   // by name
  std::vector<Pool*> Leaving() const;  // the first that was removed first
  std::vector<Pool*> All() const;      // the living, then the leaving
  std::vector<Pool*> Shown() const;    // by name

 private:
  struct Removed {
    Pool* pool;
    Gone gone;
  };

  void AppendLiving(std::vector<Pool*>& pools) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AppendLeaving(std::vector<Pool*>& pools) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::deque<std::unique_ptr<Pool>> owned_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Pool*, std::less<>> living_ ABSL_GUARDED_BY(mutex_);
  std::vector<Removed> leaving_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pglessor::core
