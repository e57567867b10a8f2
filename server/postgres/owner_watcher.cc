#include "server/postgres/owner_watcher.h"

#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "server/postgres/child_process.h"

namespace pglessor::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// 4.5 s in all: PostgreSQL has ended within 5 s of its owner. The first is a clean shutdown.
constexpr EndingStep kOwnerGone[] = {
    {SIGINT, milliseconds(2000)}, {SIGQUIT, milliseconds(1000)}, {SIGKILL, milliseconds(1500)}};

constexpr char kProcessName[] = "pg-owner-watch";  // at most 15 characters

// The watcher's descriptors.
enum { kOwner = 3, kAlive, kLock, kDescriptors };

// Async-signal-safe, as is all that the watcher calls.
bool EndOfFileWithin(int pipe, milliseconds patience) {
  const steady_clock::time_point deadline = steady_clock::now() + patience;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    pollfd watched = {.fd = pipe, .events = 0, .revents = 0};
    const int ready = poll(&watched, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) return false;
  }
}

bool EndUntilEndOfFile(pid_t program, int alive, std::span<const EndingStep> steps) {
  if (EndOfFileWithin(alive, milliseconds(0))) return true;
  for (const EndingStep& step : steps) {
    if (program > 0) kill(program, step.signal);
    if (EndOfFileWithin(alive, step.patience)) return true;
  }
  return false;
}

// Where the kernel shows a process's command line from. A fork has the same addresses.
struct CommandLine {
  char* begin = nullptr;
  size_t size = 0;
};

CommandLine FindCommandLine() {
  std::ifstream file("/proc/self/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 48; ++field) fields >> skipped;  // proc(5): 48 and 49 are the ends
  uintptr_t begin = 0;
  uintptr_t end = 0;
  if (!(fields >> begin >> end) || begin == 0 || end <= begin) return {};
  return {reinterpret_cast<char*>(begin), end - begin};
}

// Without it, `pkill -9 -f` with the owner's command line would end the watcher together with it.
void Rename(CommandLine line) {
  prctl(PR_SET_NAME, kProcessName);
  if (line.size == 0) return;
  memset(line.begin, 0, line.size);
  memcpy(line.begin, kProcessName, std::min(line.size, sizeof(kProcessName)) - 1);
}

struct WatcherStart {
  int owner;
  int alive;
  int lock;
  CommandLine command_line;
  char* const* removal;  // a command, or null
};

[[noreturn]] void Watch(const WatcherStart& start) {
  setsid();
  Rename(start.command_line);
  const int kept[kDescriptors] = {-1, -1, -1, start.owner, start.alive, start.lock};
  if (!in_child::KeepOnly(kept, kDescriptors) || chdir("/") != 0) _exit(1);

  pid_t last = 0;  // of the programs, which run one after the other
  pid_t announced = 0;
  while (read(kOwner, &announced, sizeof(announced)) == sizeof(announced)) last = announced;

  // What still lives would only make a new mess: leave the folder to the next start.
  if (!EndUntilEndOfFile(last, kAlive, kOwnerGone)) _exit(1);
  if (start.removal == nullptr) _exit(0);
  char* const no_environment[] = {nullptr};
  execve(start.removal[0], start.removal, no_environment);
  _exit(1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<OwnerWatcher>> OwnerWatcher::Start(const WatcherDuty& duty) {
  absl::StatusOr<Pipe> owner = MakePipe();
  if (!owner.ok()) return owner.status();
  absl::StatusOr<Pipe> alive = MakePipe();
  if (!alive.ok()) return alive.status();

  std::vector<std::string> words = {"/bin/rm", "-rf", "--"};
  words.insert(words.end(), duty.remove.begin(), duty.remove.end());
  std::vector<char*> removal;
  removal.reserve(words.size() + 1);
  for (std::string& word : words) removal.push_back(word.data());
  removal.push_back(nullptr);
  const WatcherStart start = {owner->read_end.get(), alive->read_end.get(), duty.lock, FindCommandLine(),
                              duty.remove.empty() ? nullptr : removal.data()};

  const absl::StatusOr<pid_t> watcher = in_child::Fork();
  if (!watcher.ok()) return watcher.status();
  if (*watcher == 0) Watch(start);
  owner->read_end.Close();
  return std::unique_ptr<OwnerWatcher>(new OwnerWatcher(*watcher, *std::move(owner), *std::move(alive)));
}

OwnerWatcher::OwnerWatcher(pid_t watcher, Pipe owner_pipe, Pipe alive_pipe)
    : watcher_(watcher), owner_pipe_(std::move(owner_pipe)), alive_pipe_(std::move(alive_pipe)) {}

OwnerWatcher::~OwnerWatcher() {
  // Killed first, so that it does not take the closing of the pipe for our end.
  kill(watcher_, SIGKILL);
  Reap(watcher_).IgnoreError();  // there is nothing left to do about a failure
}

bool OwnerWatcher::WaitUntilAllEnded(milliseconds patience) const {
  return EndOfFileWithin(alive_pipe_.read_end.get(), patience);
}

bool OwnerWatcher::End(pid_t program, std::span<const EndingStep> steps) const {
  return EndUntilEndOfFile(program, alive_pipe_.read_end.get(), steps);
}

}  // namespace pglessor::postgres
