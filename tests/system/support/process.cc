#include "tests/system/support/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "tests/system/support/eventually.h"

namespace pglessor::system {
namespace {

std::vector<std::string> Environment(const Process::Command& command) {
  std::vector<std::string> environment;
  const auto overridden = [&](const std::string& entry) {
    for (const auto& [name, value] : command.environment) {
      if (absl::StartsWith(entry, name + "=")) return true;
    }
    return absl::StartsWith(entry, "PGLESSOR_");
  };
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!overridden(*entry)) environment.emplace_back(*entry);
  }
  for (const auto& [name, value] : command.environment) {
    environment.push_back(absl::StrCat(name, "=", value));
  }
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int OpenForWriting(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

}  // namespace

Process::Process(const Command& command) {
  // All that allocates, before the fork: other threads may hold any lock.
  std::vector<std::string> words = {command.program};
  words.insert(words.end(), command.arguments.begin(), command.arguments.end());
  std::vector<std::string> variables = Environment(command);
  const std::vector<char*> arguments = Pointers(words);
  const std::vector<char*> environment = Pointers(variables);
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int output = OpenForWriting(folder_.path() / "stdout");
  const int log = OpenForWriting(folder_.path() / "stderr");
  const std::string folder = folder_.path();
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) std::abort();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(folder.c_str()) != 0) _exit(127);
    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execve(arguments[0], arguments.data(), environment.data());
    _exit(127);
  }
  for (const int descriptor : {nothing, output, log}) close(descriptor);
}

Process::~Process() {
  if (!Running()) return;
  Signal(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::optional<std::string> Process::FirstLine() {
  std::string text;
  const auto whole = [&] {
    const bool running = Running();  // looked at first, so that what it wrote last is read
    text = Output();
    return text.find('\n') != std::string::npos || !running;
  };
  if (!Eventually(whole)) return std::nullopt;
  const size_t end = text.find('\n');
  return end == std::string::npos ? std::nullopt : std::optional(text.substr(0, end));
}

void Process::Signal(int number) const {
  // Not reaped, so the pid is still this child's.
  if (!ended_) kill(pid_, number);
}

bool Process::Running() {
  if (ended_) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return true;
  ended_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return false;
}

std::optional<ExitStatus> Process::AwaitEnd() {
  Eventually([&] { return !Running(); });
  return ended_;
}

}  // namespace pglessor::system
