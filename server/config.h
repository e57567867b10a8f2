// What the server is to be: the command line, its environment and its file, checked as a whole before
// anything starts.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/core/options.h"
#include "server/ops/log.h"
#include "server/postgres/target_session.h"
#include "server/postgres/validation.h"
#include "server/rpc/identity_options.h"

namespace pglessor {

inline constexpr char kVersion[] = PGLESSOR_VERSION;  // CMakeLists.txt says which

// A pool: what the core is to know of it, and how PostgreSQL is reached.
struct PoolConfig {
  core::PoolOptions options = {};
  std::string dsn = {};          // empty = the embedded PostgreSQL
  std::string control_dsn = {};  // empty = dsn
  // Of the roles that tenants log in as; a role without one is let in by other means.
  std::map<std::string, std::string> passwords = {};
  postgres::Validation validation = {};
  postgres::TargetSession target_session = postgres::TargetSession::kAny;
  std::string primary = {};  // the pool whose database gives this one's fencing tokens; empty = its own

  friend bool operator==(const PoolConfig&, const PoolConfig&) = default;
};

struct Config {
  std::string file;  // what --config names; empty = none
  std::vector<std::string> listen;
  std::string advertise;  // empty = the first bound address
  std::string gateway, gateway_advertise;
  std::string http = "127.0.0.1:7434";  // empty = off
  bool insecure = false;
  bool reflection = true;
  bool fault_injection = false;
  // Set = start and own a private PostgreSQL, for the one pool; empty text = in a temporary folder.
  std::optional<std::string> embedded;
  std::vector<PoolConfig> pools;  // one at least
  core::Duration drain_timeout = std::chrono::seconds(30);
  core::Duration ended_retention = core::LeaseTableOptions().ended_retention;
  ops::LogLevel log_level = ops::LogLevel::kInfo;
  ops::LogFormat log_format = ops::LogFormat::kJson;
  rpc::TlsOptions tls;
  std::vector<rpc::IdentityOptions> identities;  // empty = every caller is anonymous, and may do everything
  std::map<std::string, std::string> scram_verifiers;  // by tenant: for its login at the gateway
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

// Reads the environment (PGLESSOR_LISTEN, PGLESSOR_DSN, PGLESSOR_CONTROL_DSN), which a flag overrides, and
// the file that --config names, which both override. Called again, it reads both again.
CommandLine ParseCommandLine(int argc, const char* const* argv);

// "30s", "500ms", "2m", "1h": whole milliseconds up to a year. Nothing if `text` is not one.
std::optional<std::chrono::milliseconds> ParseDuration(const std::string& text);

// "debug", "info", "warning", "error".
std::optional<ops::LogLevel> ParseLogLevel(const std::string& text);
// "text", "json", or "auto": text on a terminal.
std::optional<ops::LogFormat> ParseLogFormat(const std::string& text);

// Reached from this machine only: a unix socket, localhost, 127.0.0.0/8 or [::1].
bool IsLoopback(const std::string& address);

}  // namespace pglessor
