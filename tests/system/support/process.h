// A program run as a child of the test, in a folder of its own, with what it writes kept in files.
//
// It ends with the test, whatever ends that: by the destructor, or by the kernel where the test's process
// was killed. It inherits our environment less what configures pglessor.
//
// Threads: started and used by the one thread that outlives it; the kernel ends it with that thread.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/freeze.h"
#include "tests/system/support/temporary_folder.h"

namespace pglessor::system {

// How a process ended: its exit status, or the signal's number below zero.
using ExitStatus = int;

class Process {
 public:
  struct Command {
    std::string program;
    std::vector<std::string> arguments;
    std::vector<std::pair<std::string, std::string>> environment = {};  // beside what is inherited
  };

  explicit Process(const Command& command);
  ~Process();  // kills it if it still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  std::string Output() const { return ReadFile(folder_.path() / "stdout"); }
  std::string Log() const { return ReadFile(folder_.path() / "stderr"); }

  // The first whole line of its standard output; nothing if it ends, or time runs out, before that.
  std::optional<std::string> FirstLine();

  void Signal(int number) const;
  // Stands still until Thaw. False if it cannot be brought to that.
  [[nodiscard]] bool Freeze() const { return test::Freeze(pid_); }
  void Thaw() const { Signal(SIGCONT); }
  bool Running();
  // Waits for its end; nothing if time runs out.
  std::optional<ExitStatus> AwaitEnd();

 private:
  TemporaryFolder folder_;
  pid_t pid_ = -1;
  std::optional<ExitStatus> ended_;
};

}  // namespace pglessor::system
