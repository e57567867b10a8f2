// pglessor: reads the command line and runs what it asks for.
#include <chrono>
#include <cstdio>
#include <string>
#include <variant>

#include "server/config.h"
#include "server/ops/log.h"
#include "server/rpc/probe.h"
#include "server/server.h"

namespace {

constexpr std::chrono::seconds kProbeTimeout(2);
constexpr int kExitFailure = 1;
constexpr int kExitBadFlags = 2;

struct Run {
  int argc;
  const char* const* argv;

  int operator()(const pglessor::Config& config) const {
    return pglessor::RunServer(
        config, [this] { return pglessor::ParseCommandLine(argc, argv); },
        pglessor::ops::Log(config.log_level, config.log_format));
  }
  int operator()(const pglessor::ProbeCommand& probe) const {
    const absl::Status status = pglessor::rpc::Probe({probe.address, probe.tls_ca}, kProbeTimeout);
    if (status.ok()) return 0;
    std::fprintf(stderr, "pglessor: %s\n", std::string(status.message()).c_str());
    return kExitFailure;
  }
  int operator()(const pglessor::PrintAndExit& print) const {
    std::fputs(print.text.c_str(), stdout);
    return 0;
  }
  int operator()(const pglessor::CheckedConfig&) const {
    std::fputs("pglessor: no fault found\n", stdout);
    return 0;
  }
  int operator()(const pglessor::Faults& faults) const {
    for (const std::string& line : faults.lines) std::fprintf(stderr, "pglessor: %s\n", line.c_str());
    return kExitBadFlags;
  }
};

}  // namespace

int main(int argc, char** argv) {
  return std::visit(Run{argc, argv}, pglessor::ParseCommandLine(argc, argv));
}
