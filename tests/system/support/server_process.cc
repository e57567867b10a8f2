#include "tests/system/support/server_process.h"

#include <algorithm>
#include <csignal>
#include <iostream>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace pglessor::system {
namespace {

// What stands behind `name` in the ready line, up to the next space.
std::string Named(const std::string& line, const std::string& name) {
  const size_t found = line.find(name);
  if (found == std::string::npos) return "";
  const size_t begin = found + name.size();
  return line.substr(begin, line.find(' ', begin) - begin);
}

}  // namespace

FinishedRun RunPglessor(const Flags& flags, const Environment& environment) {
  Process process({PGLESSOR_BINARY, flags, environment});
  const std::optional<ExitStatus> exit = process.AwaitEnd();
  return {exit, process.Output(), process.Log()};
}

std::unique_ptr<ServerProcess> ServerProcess::Start(Flags flags, const Environment& environment) {
  const auto given = [&](const char* name) {
    return std::any_of(flags.begin(), flags.end(),
                       [&](const std::string& flag) { return absl::StartsWith(flag, name); });
  };
  const bool listens = given("--listen") ||
                       std::any_of(environment.begin(), environment.end(),
                                   [](const auto& variable) { return variable.first == "PGLESSOR_LISTEN"; });
  if (!listens) flags.emplace_back("--listen=127.0.0.1:0");
  if (!given("--http")) flags.emplace_back("--http=");
  std::unique_ptr<ServerProcess> server(
      new ServerProcess(Process::Command{PGLESSOR_BINARY, flags, environment}));
  server->ready_line_ = server->process_.FirstLine().value_or("");
  server->address_ = Named(server->ready_line_, "pglessor ready grpc=");
  server->http_address_ = Named(server->ready_line_, " http=");
  EXPECT_NE(server->address_, "") << "its first line: \"" << server->ready_line_ << "\"; its log:\n"
                                  << server->Log();
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
