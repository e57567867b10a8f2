// A process that stands still, as one does that hangs.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <thread>

namespace pglessor::test {

// Whether none of its threads goes on, by proc(5): each is stopped, or is a zombie, which its parent may be
// too frozen to reap.
inline bool Frozen(pid_t pid) {
  std::error_code gone;
  for (const auto& thread :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone)) {
    std::ifstream file(thread.path() / "stat");
    const std::string stat{std::istreambuf_iterator<char>(file), {}};
    const size_t name_ends = stat.rfind(')');
    if (name_ends == std::string::npos) return false;
    const std::string state = stat.substr(name_ends, 3);
    if (state != ") T" && state != ") Z") return false;
  }
  return !gone;
}

// Stops it, and waits until it stands: kill(2) only asks for that, and on a busy machine its threads may go
// on for a while. False if it did not come to that within ten seconds.
inline bool Freeze(pid_t pid) {
  if (kill(pid, SIGSTOP) != 0) return false;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!Frozen(pid)) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace pglessor::test
