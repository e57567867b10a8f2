#include "server/postgres/child_process.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/postgres/file_descriptor.h"

namespace pglessor::postgres {
namespace {

// Descriptors of the program before it is one; those after kAlive end with exec.
enum { kInput, kOutput, kError, kAlive, kReport, kDescriptors };

enum class Step { kAnnounce, kDescriptors, kUser, kDirectory, kExecute };

// What a child says of itself when it cannot become the program.
struct Report {
  Step step;
  int error;
};

// A program as execve wants it, made before the fork: the child must not allocate.
struct Prepared {
  explicit Prepared(const Program& program) : program(program) {
    arguments.push_back(const_cast<char*>(program.path.c_str()));
    for (const std::string& one : program.arguments) arguments.push_back(const_cast<char*>(one.c_str()));
    arguments.push_back(nullptr);
    for (const std::string& one : program.environment) {
      environment.push_back(const_cast<char*>(one.c_str()));
    }
    environment.push_back(nullptr);
  }

  const Program& program;
  std::vector<char*> arguments;
  std::vector<char*> environment;
};

[[noreturn]] void GiveUp(Step step, int report) {
  const Report said{step, errno};
  // Where even this fails, the parent sees the child's end without a report.
  (void)!write(report, &said, sizeof(said));
  _exit(127);
}

bool BecomeUser(const SystemUser& user) {
  return setgroups(1, &user.gid) == 0 && setgid(user.gid) == 0 && setuid(user.uid) == 0;
}

// Handlers cannot run in the program, but what we ignore or block it would inherit.
void RestoreSignals() {
  struct sigaction by_default = {};
  by_default.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &by_default, nullptr);
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

// Async-signal-safe calls only: another thread may have held any lock of ours during the fork.
[[noreturn]] void Become(const Prepared& prepared, int report) {
  const Program& program = prepared.program;
  const pid_t self = getpid();
  if (program.announce >= 0 && write(program.announce, &self, sizeof(self)) != sizeof(self)) {
    GiveUp(Step::kAnnounce, report);
  }
  setsid();  // cannot fail: a new child leads no process group
  umask(077);
  const int kept[kDescriptors] = {-1, program.output, program.output, program.alive, report};
  if (!in_child::KeepOnly(kept, kDescriptors)) GiveUp(Step::kDescriptors, report);
  fcntl(kReport, F_SETFD, FD_CLOEXEC);
  if (program.user.has_value() && !BecomeUser(*program.user)) GiveUp(Step::kUser, kReport);
  if (chdir(program.directory.c_str()) != 0) GiveUp(Step::kDirectory, kReport);
  RestoreSignals();
  execve(program.path.c_str(), prepared.arguments.data(), prepared.environment.data());
  GiveUp(Step::kExecute, kReport);
}

std::string WhatFailed(Step step, const Program& program) {
  const std::string as = program.user.has_value() ? absl::StrCat(" as the user ", program.user->name) : "";
  switch (step) {
    case Step::kAnnounce:
      return "tell the watcher of a new child";
    case Step::kDescriptors:
      return "arrange a child's descriptors";
    case Step::kUser:
      return absl::StrCat("become the user ", program.user->name);
    case Step::kDirectory:
      return absl::StrCat("enter ", program.directory, as,
                          " (each folder above it must let that user through)");
    case Step::kExecute:
      break;
  }
  return absl::StrCat("run ", program.path, as);
}

// Nothing = it is the program now: exec has closed the other end.
std::optional<Report> ReadReport(int report) {
  Report said;
  ssize_t got;
  do {
    got = read(report, &said, sizeof(said));
  } while (got < 0 && errno == EINTR);
  if (got != sizeof(said)) return std::nullopt;
  return said;
}

}  // namespace

namespace in_child {

absl::StatusOr<pid_t> Fork() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t child = fork();
  const int error = errno;
  if (child == 0) return 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return absl::ErrnoToStatus(error, "fork");
  return child;
}

bool KeepOnly(const int* from, int count) {
  int high[kMaxDescriptors];
  for (int i = 0; i < count; ++i) {
    const int source = from[i] >= 0 ? from[i] : open("/dev/null", O_RDWR);
    high[i] = fcntl(source, F_DUPFD, kMaxDescriptors);  // out of the way of those to be made
    if (high[i] < 0) return false;
  }
  for (int i = 0; i < count; ++i) {
    if (dup2(high[i], i) < 0) return false;
  }
  if (close_range(count, ~0U, 0) == 0) return true;
  // A kernel before 5.9, or a sandbox that does not know the call.
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  const int end = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 20));
  for (int fd = count; fd < end; ++fd) close(fd);
  return true;
}

}  // namespace in_child

absl::StatusOr<pid_t> Spawn(const Program& program) {
  const Prepared prepared(program);
  absl::StatusOr<Pipe> report = MakePipe();
  if (!report.ok()) return report.status();

  const absl::StatusOr<pid_t> child = in_child::Fork();
  if (!child.ok()) return child.status();
  if (*child == 0) Become(prepared, report->write_end.get());

  report->write_end.Close();
  const std::optional<Report> said = ReadReport(report->read_end.get());
  if (!said.has_value()) return *child;
  // It is ending by itself; that it could not become the program is what matters.
  Reap(*child).IgnoreError();
  return absl::ErrnoToStatus(said->error, WhatFailed(said->step, program));
}

absl::StatusOr<int> Reap(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno == ECHILD) return 0;
    if (errno != EINTR) return absl::ErrnoToStatus(errno, absl::StrCat("wait for process ", child));
  }
  return status;
}

}  // namespace pglessor::postgres
