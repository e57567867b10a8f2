#include "tests/system/support/server_process.h"

#include <algorithm>
#include <csignal>
#include <iostream>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace pglessor::system {

FinishedRun RunPglessor(const Flags& flags, const Environment& environment) {
  Process process({PGLESSOR_BINARY, flags, environment});
  const std::optional<ExitStatus> exit = process.AwaitEnd();
  return {exit, process.Output(), process.Log()};
}

std::unique_ptr<ServerProcess> ServerProcess::Start(Flags flags, const Environment& environment) {
  const bool listens =
      std::any_of(flags.begin(), flags.end(),
                  [](const std::string& flag) { return absl::StartsWith(flag, "--listen"); }) ||
      std::any_of(environment.begin(), environment.end(),
                  [](const auto& variable) { return variable.first == "PGLESSOR_LISTEN"; });
  if (!listens) flags.emplace_back("--listen=127.0.0.1:0");
  std::unique_ptr<ServerProcess> server(
      new ServerProcess(Process::Command{PGLESSOR_BINARY, flags, environment}));
  server->ready_line_ = server->process_.FirstLine().value_or("");
  constexpr char kBeforeAddress[] = "pglessor ready grpc=";
  const std::string& line = server->ready_line_;
  if (absl::StartsWith(line, kBeforeAddress)) {
    const size_t begin = sizeof kBeforeAddress - 1;
    server->address_ = line.substr(begin, line.find(' ', begin) - begin);
  }
  EXPECT_NE(server->address_, "") << "its first line: \"" << line << "\"; its log:\n" << server->Log();
  return server;
}

ServerProcess::~ServerProcess() {
  if (testing::Test::HasFailure()) std::cerr << "pglessor's log:\n" << Log() << std::endl;
}

std::optional<ExitStatus> ServerProcess::End() {
  process_.Signal(SIGTERM);
  return process_.AwaitEnd();
}

void ServerProcess::Kill() {
  process_.Signal(SIGKILL);
  process_.AwaitEnd();
}

}  // namespace pglessor::system
