#include "server/config.h"

#include <unistd.h>

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include <CLI/CLI.hpp>

#include "server/postgres/opening.h"

namespace pglessor {
namespace {

constexpr char kDefaultListen[] = "127.0.0.1:7432";
constexpr int32_t kMostConnections = 10'000;

constexpr char kExamples[] = R"(
Examples:
  pglessor --embedded                                   a private PostgreSQL, for trying it out
  pglessor --dsn postgresql://app@db.internal/orders --min-connections 5 --max-connections 40
  pglessor probe 127.0.0.1:7432                         exit 0 if it serves, 1 if not

It writes "pglessor ready grpc=HOST:PORT ..." to stdout when it serves, and its log to stderr.
SIGTERM drains: no new leases, those that are held have --drain-timeout to end. A second one ends at once.
Exit status: 0 after a drain, 1 after a failure or a second SIGTERM, 2 for bad flags.)";

// What was typed, before it means anything.
struct Flags {
  std::vector<std::string> listen;
  std::string advertise, gateway_advertise, dsn, control_dsn, config, gateway, http;
  std::string tls_cert, tls_key, tls_client_ca;
  std::string min_connections = "10", max_connections = "20", drain_timeout = "30s";
  std::string log_level = "info", log_format = "auto", embedded;
  bool reflection = true, insecure = false, fault_injection = false, check = false, version = false;
  CLI::Option* embedded_flag = nullptr;
};

void Declare(CLI::App& app, Flags& flags) {
  app.add_option("--listen", flags.listen,
                 "gRPC address, HOST:PORT or unix:PATH; repeatable; port 0 picks one [127.0.0.1:7432]")
      ->envname("PGLESSOR_LISTEN")
      ->group("Addresses")
      ->type_name("ADDRESS");
  app.add_option("--advertise", flags.advertise,
                 "what a lease's server_address says, HOST[:PORT] [the bound address]")
      ->group("Addresses");
  app.add_option("--gateway", flags.gateway,
                 "PostgreSQL wire gateway; empty = off (not built yet: always off)")
      ->group("Addresses");
  app.add_option("--gateway-advertise", flags.gateway_advertise, "what gateway_address says")
      ->group("Addresses");
  app.add_option("--http", flags.http, "metrics and status page; empty = off (not built yet: always off)")
      ->group("Addresses");
  app.add_flag("--insecure", flags.insecure,
               "listen beyond this machine without TLS: every caller may do everything")
      ->group("Addresses");
  app.add_flag("--reflection,!--no-reflection", flags.reflection,
               "gRPC server reflection, for grpcurl and buf curl [true]")
      ->group("Addresses");

  app.add_option("--dsn", flags.dsn,
                 "the database of the pool \"default\": postgresql://USER@HOST/DB or key=value")
      ->envname("PGLESSOR_DSN")
      ->group("Database (--dsn or --embedded)");
  app.add_option("--control-dsn", flags.control_dsn,
                 "the same database by a role with pg_monitor and pg_signal_backend [--dsn]")
      ->envname("PGLESSOR_CONTROL_DSN")
      ->group("Database (--dsn or --embedded)");
  flags.embedded_flag = app.add_option("--embedded", flags.embedded,
                                       "start and own a private PostgreSQL, in DIR or in a temporary folder")
                            ->expected(0, 1)
                            ->type_name("[=DIR]")
                            ->group("Database (--dsn or --embedded)");
  app.add_option("--min-connections", flags.min_connections, "kept open [10]")
      ->group("Database (--dsn or --embedded)");
  app.add_option("--max-connections", flags.max_connections, "never exceeded [20]")
      ->group("Database (--dsn or --embedded)");

  app.add_option("--config", flags.config, "TOML file (not built yet)")->group("Running");
  app.add_option("--drain-timeout", flags.drain_timeout, "how long leases may last after SIGTERM [30s]")
      ->group("Running");
  app.add_option("--log-level", flags.log_level, "debug, info, warning or error [info]")->group("Running");
  app.add_option("--log-format", flags.log_format, "text, json, or auto: text on a terminal [auto]")
      ->group("Running");
  app.add_flag("--enable-fault-injection", flags.fault_injection, "allow InjectFault (not built yet)")
      ->group("Running");
  app.add_flag("--check-config", flags.check, "say what is wrong with the flags, and start nothing")
      ->group("Running");
  app.add_flag("--version", flags.version, "print the version")->group("Running");

  app.add_option("--tls-cert", flags.tls_cert, "(not built yet)")->group("TLS");
  app.add_option("--tls-key", flags.tls_key, "(not built yet)")->group("TLS");
  app.add_option("--tls-client-ca", flags.tls_client_ca, "(not built yet)")->group("TLS");
}

// `text` without what may be a DSN: one with its password may have been typed in any wrong place.
std::string WithoutValues(std::string text, int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    const size_t equals = argument.find('=');
    const bool is_flag = absl::StartsWith(argument, "-");
    if (is_flag && equals == absl::string_view::npos) continue;
    const absl::string_view value = is_flag ? argument.substr(equals + 1) : argument;
    // What has none of these is neither a URI nor key=value.
    if (value.find_first_of(":@=") == absl::string_view::npos) continue;
    text = absl::StrReplaceAll(text, {{value, "…"}});
  }
  return text;
}

// Turns flags into a Config, and notes every fault on the way.
class Check {
 public:
  explicit Check(const Flags& flags) : flags_(flags) {}

  CommandLine Run() {
    Addresses();
    Database();
    Numbers();
    Logging();
    NotBuiltYet();
    if (!faults_.lines.empty()) return std::move(faults_);
    if (flags_.check) return CheckedConfig{};
    return std::move(config_);
  }

 private:
  void Fault(absl::string_view flag, absl::string_view expected) {
    faults_.lines.push_back(absl::StrCat(flag, ": ", expected));
  }

  void Addresses() {
    config_.listen = flags_.listen;
    if (config_.listen.empty()) config_.listen.emplace_back(kDefaultListen);
    for (const std::string& address : config_.listen) {
      int port = 0;
      const size_t colon = address.rfind(':');
      if (absl::StartsWith(address, "unix:")) {
        if (address.size() == 5) Fault("--listen", "expected a path behind unix:");
      } else if (colon == std::string::npos || colon == 0 ||
                 address.find_first_not_of("0123456789", colon + 1) != std::string::npos ||
                 !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535) {
        Fault("--listen", absl::StrCat("expected HOST:PORT or unix:PATH, got \"", address, "\""));
      } else if (!flags_.insecure && !IsLoopback(address)) {
        Fault("--listen", absl::StrCat(address,
                                       " is reached from other machines, without TLS and by "
                                       "anybody: listen on 127.0.0.1, or say --insecure"));
      }
    }
    config_.advertise = flags_.advertise;
    config_.reflection = flags_.reflection;
  }

  void Database() {
    const bool embedded = flags_.embedded_flag->count() > 0;
    if (embedded && !flags_.dsn.empty()) {
      Fault("--embedded", "expected either --dsn or --embedded, got both");
    } else if (!embedded && flags_.dsn.empty() && flags_.config.empty()) {
      Fault("--dsn", "expected --dsn postgresql://USER@HOST/DB, or --embedded for a private PostgreSQL");
    }
    if (embedded) config_.embedded = flags_.embedded;
    if (embedded && !flags_.control_dsn.empty()) {
      Fault("--control-dsn", "an embedded PostgreSQL has a control role of its own; leave it out");
    }
    config_.dsn = Dsn("--dsn", flags_.dsn);
    config_.control_dsn = Dsn("--control-dsn", flags_.control_dsn);
  }

  // Never quotes it: it may hold a password.
  std::string Dsn(absl::string_view flag, const std::string& dsn) {
    const absl::Status status = postgres::CheckDsn(dsn);
    if (!status.ok()) Fault(flag, status.message());
    return dsn;
  }

  void Numbers() {
    const size_t faults = faults_.lines.size();
    config_.pool.min_connections = Number("--min-connections", flags_.min_connections, 0);
    config_.pool.max_connections = Number("--max-connections", flags_.max_connections, 1);
    if (faults_.lines.size() == faults && config_.pool.min_connections > config_.pool.max_connections) {
      Fault("--min-connections",
            absl::StrCat("expected at most --max-connections, which is ", config_.pool.max_connections));
    }
    if (const auto timeout = ParseDuration(flags_.drain_timeout)) {
      config_.drain_timeout = *timeout;
    } else {
      Fault("--drain-timeout",
            absl::StrCat("expected a time such as 30s, 500ms or 2m, got \"", flags_.drain_timeout, "\""));
    }
  }

  int32_t Number(absl::string_view flag, const std::string& text, int32_t least) {
    int32_t number = 0;
    if (!absl::SimpleAtoi(text, &number) || number < least || number > kMostConnections) {
      Fault(flag,
            absl::StrCat("expected a number from ", least, " to ", kMostConnections, ", got \"", text, "\""));
    }
    return number;
  }

  void Logging() {
    const std::map<std::string, ops::LogLevel> levels = {{"debug", ops::LogLevel::kDebug},
                                                         {"info", ops::LogLevel::kInfo},
                                                         {"warning", ops::LogLevel::kWarning},
                                                         {"error", ops::LogLevel::kError}};
    const auto level = levels.find(flags_.log_level);
    if (level == levels.end()) {
      Fault("--log-level",
            absl::StrCat("expected debug, info, warning or error, got \"", flags_.log_level, "\""));
    } else {
      config_.log_level = level->second;
    }
    if (flags_.log_format == "text" || (flags_.log_format == "auto" && isatty(STDERR_FILENO) == 1)) {
      config_.log_format = ops::LogFormat::kText;
    } else if (flags_.log_format != "json" && flags_.log_format != "auto") {
      Fault("--log-format", absl::StrCat("expected text, json or auto, got \"", flags_.log_format, "\""));
    }
  }

  // To take one of these and do nothing would be worse than to refuse it.
  void NotBuiltYet() {
    const std::pair<const char*, bool> asked[] = {
        {"--config", !flags_.config.empty()},
        {"--tls-cert", !flags_.tls_cert.empty()},
        {"--tls-key", !flags_.tls_key.empty()},
        {"--tls-client-ca", !flags_.tls_client_ca.empty()},
    };
    for (const auto& [flag, given] : asked) {
      if (given) Fault(flag, "is not built yet; leave it out");
    }
  }

  const Flags& flags_;
  Config config_;
  Faults faults_;
};

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app("Leases pooled PostgreSQL connections to remote services, over gRPC.", "pglessor");
  app.footer(kExamples);
  Flags flags;
  Declare(app, flags);
  std::string probe_address = kDefaultListen;
  CLI::App* const probe = app.add_subcommand("probe", "one health check: exit 0 if it serves, else 1");
  probe->add_option("address", probe_address, "HOST:PORT or unix:PATH")->envname("PGLESSOR_LISTEN");
  std::string probe_tls_ca;
  probe->add_option("--tls-ca", probe_tls_ca,
                    "over TLS: the authority of the server's certificate, a PEM file");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return PrintAndExit{probe->parsed() ? probe->help() : app.help()};
  } catch (const CLI::ParseError& error) {
    return Faults{{absl::StrCat(WithoutValues(error.what(), argc, argv), " (see pglessor --help)")}};
  }
  if (flags.version) return PrintAndExit{absl::StrCat("pglessor ", kVersion, "\n")};
  if (probe->parsed()) return ProbeCommand{probe_address, probe_tls_ca};
  return Check(flags).Run();
}

std::optional<std::chrono::milliseconds> ParseDuration(const std::string& text) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::ZeroDuration() ||
      duration > absl::Hours(24 * 365)) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(absl::ToInt64Milliseconds(duration));
}

bool IsLoopback(const std::string& address) {
  const std::string host = address.substr(0, address.rfind(':'));
  return absl::StartsWith(address, "unix:") || host == "localhost" || host == "[::1]" ||
         (absl::StartsWith(host, "127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

}  // namespace pglessor
