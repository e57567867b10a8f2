// Running a program of PostgreSQL as a child of ours: as another system user if need be, in a
// session of its own, and with none of our descriptors.
//
// Why not posix_spawn or system(): PostgreSQL refuses to run as root, so the child must change its
// user between fork and exec; and it must not get the terminal's Ctrl-C, which is ours to answer by
// draining.
//
// Threads: may be called from any, with others running: a child calls only async-signal-safe
// functions.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "server/postgres/system_user.h"

namespace pglessor::postgres {

struct Program {
  std::string path = {};
  std::vector<std::string> arguments = {};    // after the program's own name
  std::vector<std::string> environment = {};  // NAME=value, and nothing of ours
  std::string directory = {};                 // where it runs
  std::optional<SystemUser> user = {};        // nothing = as ourselves
  int output = -1;                            // takes its standard output and error
  int alive = -1;     // handed down as descriptor 3, so that it is open while any descendant lives
  int announce = -1;  // the child writes its pid_t here before it becomes the program
};

// The child's pid once it *is* the program. Fails with what could not be done and as whom, and the
// child is then reaped.
absl::StatusOr<pid_t> Spawn(const Program& program);

// Waits for a child's end. The wait status as waitpid gives it; 0 where somebody else has reaped
// it.
absl::StatusOr<int> Reap(pid_t child);

// For a child that has not become a program, or never will. Both are async-signal-safe in the
// child.
namespace in_child {

// As fork(). In the child every signal that can be is blocked, so that no handler of ours runs
// there.
absl::StatusOr<pid_t> Fork();

// Makes from[i] the descriptor i, for all i, and closes every other. -1 = /dev/null.
inline constexpr int kMaxDescriptors = 8;
bool KeepOnly(const int* from, int count);

}  // namespace in_child

}  // namespace pglessor::postgres
