#include "server/postgres/postgres_processes.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <system_error>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "server/postgres/ending_step.h"

namespace pglessor::postgres {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr EndingStep kSteps[] = {{SIGQUIT, milliseconds(3000)}, {SIGKILL, milliseconds(2000)}};
// They are no children of ours, so nothing tells us of their end.
constexpr milliseconds kLookAgainAfter(10);

// Where a link of a process's folder in /proc leads; nothing if it may not be read or has gone.
std::string Link(const fs::path& process, const char* name) {
  std::error_code unreadable;
  return fs::read_symlink(process / name, unreadable).string();
}

bool IsPostgresIn(const fs::path& process, const std::string& folder) {
  const std::string where = Link(process, "cwd");
  if (where != folder && !absl::StartsWith(where, absl::StrCat(folder, "/"))) return false;
  // "postgres (deleted)" where its package was replaced.
  return absl::StartsWith(fs::path(Link(process, "exe")).filename().string(), "postgres");
}

}  // namespace

std::vector<pid_t> PostgresProcessesIn(const std::string& folder) {
  std::vector<pid_t> found;
  std::error_code ended;
  for (fs::directory_iterator entry("/proc", ended), last; entry != last; entry.increment(ended)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry->path().filename().string(), &pid)) continue;
    if (IsPostgresIn(entry->path(), folder)) found.push_back(pid);
  }
  return found;
}

absl::Status EndPostgresProcessesIn(const std::string& folder) {
  for (const EndingStep& step : kSteps) {
    for (const pid_t pid : PostgresProcessesIn(folder)) kill(pid, step.signal);
    const steady_clock::time_point deadline = steady_clock::now() + step.patience;
    do {
      if (PostgresProcessesIn(folder).empty()) return absl::OkStatus();
      std::this_thread::sleep_for(kLookAgainAfter);
    } while (steady_clock::now() < deadline);
  }
  return absl::DeadlineExceededError(absl::StrCat("PostgreSQL in ", folder, " does not end"));
}

}  // namespace pglessor::postgres
