// The command line and its environment, checked as a whole before anything starts.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/core/options.h"
#include "server/ops/log.h"

namespace pglessor {

inline constexpr char kVersion[] = "0.1.0";

struct Config {
  std::vector<std::string> listen;
  std::string advertise;  // empty = the first bound address
  std::string dsn;
  std::string control_dsn;  // empty = the pool's
  // Set = start and own a private PostgreSQL; empty text = in a temporary folder.
  std::optional<std::string> embedded;
  core::PoolOptions pool;
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(30);
  bool reflection = true;
  ops::LogLevel log_level = ops::LogLevel::kInfo;
  ops::LogFormat log_format = ops::LogFormat::kJson;
};

// What else the command line can ask for.
struct ProbeCommand {
  std::string address;
  std::string tls_ca;  // empty = in plain text
};
struct PrintAndExit {
  std::string text;  // --help, --version; for stdout, exit 0
};
struct CheckedConfig {};  // --check-config, and there was no fault

struct Faults {
  std::vector<std::string> lines;  // one fault a line: what is wrong, and what was expected
};

using CommandLine = std::variant<Config, ProbeCommand, PrintAndExit, CheckedConfig, Faults>;

// Pure, but for the environment (PGLESSOR_LISTEN, PGLESSOR_DSN, PGLESSOR_CONTROL_DSN), which a flag
// overrides.
CommandLine ParseCommandLine(int argc, const char* const* argv);

// "30s", "500ms", "2m", "1h". Nothing if `text` is not one.
std::optional<std::chrono::milliseconds> ParseDuration(const std::string& text);

// Reached from this machine only: a unix socket, localhost, 127.0.0.0/8 or [::1].
bool IsLoopback(const std::string& address);

}  // namespace pglessor
