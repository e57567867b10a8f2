// A tiny process that ends PostgreSQL when its owner, this process, has ended without doing so: by
// kill -9, a crash or exit() from anywhere.
//
//   owner ──── holds the owner pipe alone ─────────► watcher         end of file: the owner is gone
//   programs ─ all descendants hold the alive pipe ─► watcher, owner  end of file: all of them are
//   gone
//
// Why not PR_SET_PDEATHSIG: it follows the *thread* that forked, not the process, so that
// PostgreSQL would depend on which thread started it; and a change of user clears it.
//
// The watcher is in a session of its own, deaf to every signal but SIGKILL and under another name,
// so that what is aimed at its owner (Ctrl-C, a kill of the process group, pkill -f) does not hit
// it.
//
// Invariants
//   1. A child tells the watcher its pid before it becomes a program, so none is ever unwatched.
//   2. A pid is signalled only while the alive pipe is open; nobody reaps that child before.
//
// Threads: used by one at a time.
// Owns: the watcher process and both pipes. The destructor dismisses it: PostgreSQL must have
// ended.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "server/postgres/ending_step.h"
#include "server/postgres/file_descriptor.h"

namespace pglessor::postgres {

// What the watcher does, besides ending PostgreSQL, when its owner has gone.
struct WatcherDuty {
  int lock = -1;                    // it holds this descriptor too: the lock stays taken until all is done
  std::vector<std::string> remove;  // files and folders, removed in this order
};

class OwnerWatcher {
 public:
  static absl::StatusOr<std::unique_ptr<OwnerWatcher>> Start(const WatcherDuty& duty);
  ~OwnerWatcher();
  OwnerWatcher(const OwnerWatcher&) = delete;
  OwnerWatcher& operator=(const OwnerWatcher&) = delete;

  // For Program::announce and Program::alive of everything that is to be watched.
  int announce() const { return owner_pipe_.write_end.get(); }
  int alive() const { return alive_pipe_.write_end.get(); }

  // Says that the last program has been started: from now on its end can be seen.
  void NoMorePrograms() { alive_pipe_.write_end.Close(); }

  // Waits, at most so long, until no program and no descendant of one is left.
  bool WaitUntilAllEnded(std::chrono::milliseconds patience) const;

  // Sends the signals one after the other until nothing is left. False if even the last did not do
  // it.
  bool End(pid_t program, std::span<const EndingStep> steps) const;

 private:
  OwnerWatcher(pid_t watcher, Pipe owner_pipe, Pipe alive_pipe);

  const pid_t watcher_;
  Pipe owner_pipe_;  // the read end is the watcher's
  Pipe alive_pipe_;
};

}  // namespace pglessor::postgres
