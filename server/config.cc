#include "server/config.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include <CLI/CLI.hpp>

#include "server/advertised_address.h"
#include "server/config_file.h"
#include "server/config_keys.h"
#include "server/config_table.h"
#include "server/postgres/opening.h"
#include "server/rpc/tls.h"

namespace pglessor {
namespace {

constexpr char kDefaultListen[] = "127.0.0.1:7432";

constexpr char kExamples[] = R"(
Examples:
  pglessor --embedded                                   a private PostgreSQL, for trying it out
  pglessor --dsn postgresql://app@db.internal/orders --min-connections 5 --max-connections 40
  pglessor probe 127.0.0.1:7432                         exit 0 if it serves, 1 if not

It writes "pglessor ready grpc=HOST:PORT ..." to stdout when it serves, and its log to stderr.
SIGTERM drains: no new leases, those that are held have --drain-timeout to end. A second one ends at once.
Exit status: 0 after a drain, 1 after a failure or a second SIGTERM, 2 for bad flags or a bad file.)";

// What was typed, before it means anything.
struct Flags {
  std::vector<std::string> listen;
  std::string advertise, gateway_advertise, dsn, control_dsn, config, gateway, http;
  std::string tls_cert, tls_key, tls_client_ca;
  std::string min_connections, max_connections, drain_timeout, log_level, log_format, embedded;
  bool reflection = true, insecure = false, fault_injection = false, check = false, version = false;
  CLI::Option* embedded_flag = nullptr;
  CLI::Option* reflection_flag = nullptr;
  CLI::Option* http_flag = nullptr;
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
      ->expected(0, 1)  // so that --gateway= is taken for empty
      ->type_name("ADDRESS")
      ->group("Addresses");
  app.add_option("--gateway-advertise", flags.gateway_advertise, "what gateway_address says")
      ->group("Addresses");
  flags.http_flag =
      app.add_option(
             "--http", flags.http,
             "/metrics, /healthz and /readyz, HOST:PORT; port 0 picks one; empty = off [127.0.0.1:7434]")
          ->expected(0, 1)  // so that --http= is taken for empty
          ->type_name("ADDRESS")
          ->group("Addresses");
  app.add_flag("--insecure", flags.insecure, "listen beyond this machine without TLS, or for everybody")
      ->group("Addresses");
  flags.reflection_flag = app.add_flag("--reflection,!--no-reflection", flags.reflection,
                                       "gRPC server reflection, for grpcurl and buf curl [true]")
                              ->group("Addresses");

  app.add_option("--dsn", flags.dsn,
                 "the database of the pool \"default\": postgresql://USER@HOST/DB or key=value")
      ->envname("PGLESSOR_DSN")
      ->group("Database (--dsn or --embedded, or pools in --config)");
  app.add_option("--control-dsn", flags.control_dsn,
                 "the same database by a role with pg_monitor and pg_signal_backend [--dsn]")
      ->envname("PGLESSOR_CONTROL_DSN")
      ->group("Database (--dsn or --embedded, or pools in --config)");
  flags.embedded_flag = app.add_option("--embedded", flags.embedded,
                                       "start and own a private PostgreSQL, in DIR or in a temporary folder")
                            ->expected(0, 1)
                            ->type_name("[=DIR]")
                            ->group("Database (--dsn or --embedded, or pools in --config)");
  app.add_option("--min-connections", flags.min_connections, "kept open [10]")
      ->group("Database (--dsn or --embedded, or pools in --config)");
  app.add_option("--max-connections", flags.max_connections, "never exceeded [20]")
      ->group("Database (--dsn or --embedded, or pools in --config)");

  app.add_option("--config", flags.config,
                 "TOML file: pools, tenants, TLS, and whatever flags say, which override it; read again on "
                 "SIGHUP (docs/configuration.md)")
      ->type_name("FILE")
      ->group("Running");
  app.add_option("--drain-timeout", flags.drain_timeout, "how long leases may last after SIGTERM [30s]")
      ->group("Running");
  app.add_option("--log-level", flags.log_level, "debug, info, warning or error [info]")->group("Running");
  app.add_option("--log-format", flags.log_format, "text, json, or auto: text on a terminal [auto]")
      ->group("Running");
  app.add_flag("--enable-fault-injection", flags.fault_injection, "allow InjectFault, for tests")
      ->group("Running");
  app.add_flag("--check-config", flags.check, "say what is wrong with flags and file, and start nothing")
      ->group("Running");
  app.add_flag("--version", flags.version, "print the version")->group("Running");

  app.add_option("--tls-cert", flags.tls_cert,
                 "PEM file: certificates, the server's own first; read again when it changes")
      ->group("TLS");
  app.add_option("--tls-key", flags.tls_key, "PEM file: its private key, unencrypted")->group("TLS");
  app.add_option("--tls-client-ca", flags.tls_client_ca, "PEM file: whose client certificates are believed")
      ->group("TLS");
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

// What gave `value`: the environment where that says the same, else the flag.
absl::string_view GivenBy(absl::string_view flag, const char* variable, const std::string& value) {
  const char* const said = getenv(variable);  // NOLINT(concurrency-mt-unsafe): nobody changes it
  return said != nullptr && value == said ? absl::string_view(variable) : flag;
}

// Turns flags into a Config, on top of what the file says, and notes every fault on the way.
class Check {
 public:
  explicit Check(const Flags& flags) : flags_(flags) {}

  CommandLine Run() {
    File();
    Tls();
    Addresses();
    Database();
    Running();
    if (!faults_.lines.empty()) return std::move(faults_);
    if (flags_.check) return CheckedConfig{};
    return std::move(config_);
  }

 private:
  void Fault(absl::string_view flag, absl::string_view expected) {
    faults_.lines.push_back(absl::StrCat(flag, ": ", expected));
  }

  void File() {
    config_.log_format = *ParseLogFormat("auto");
    if (flags_.config.empty()) return;
    config_.file = flags_.config;
    file_ = ReadConfigFile(flags_.config, config_);
    faults_.lines = file_.faults;
  }

  static void Override(const std::string& flag, std::string& target) {
    if (!flag.empty()) target = flag;
  }

  void Tls() {
    Override(flags_.tls_cert, config_.tls.cert);
    Override(flags_.tls_key, config_.tls.key);
    Override(flags_.tls_client_ca, config_.tls.client_ca);
    const rpc::TlsFaults faults = rpc::CheckTls(config_.tls);
    TlsFault("cert", flags_.tls_cert, faults.cert);
    TlsFault("key", flags_.tls_key, faults.key);
    TlsFault("client_ca", flags_.tls_client_ca, faults.client_ca);
    for (const rpc::IdentityOptions& identity : config_.identities) {
      if (identity.certificates.empty() || !config_.tls.client_ca.empty()) continue;
      Fault(file_.file, absl::StrCat("the certificates of ", identity.name,
                                     ": expected tls.client_ca, without which no client's is believed"));
    }
  }

  void TlsFault(absl::string_view key, const std::string& flag, const absl::Status& status) {
    if (status.ok()) return;
    if (flag.empty() && file_.Says("tls")) {
      Fault(absl::StrCat(file_.Where("tls"), ".", key), status.message());
    } else {
      Fault(absl::StrCat("--tls-", absl::StrReplaceAll(key, {{"_", "-"}})), status.message());
    }
  }

  void Addresses() {
    const bool by_file = flags_.listen.empty() && file_.Says("listen");
    if (!flags_.listen.empty()) config_.listen = flags_.listen;
    if (config_.listen.empty()) config_.listen.emplace_back(kDefaultListen);
    config_.insecure |= flags_.insecure;
    for (const std::string& address : config_.listen) {
      const std::string where =
          by_file ? file_.Where("listen") : std::string(GivenBy("--listen", "PGLESSOR_LISTEN", address));
      if (!absl::StartsWith(address, "unix:")) {
        TcpAddress(where, "HOST:PORT or unix:PATH", address);
      } else if (address.size() == 5) {
        Fault(where, "expected a path behind unix:");
      }
    }
    Advertise();
    Override(flags_.gateway, config_.gateway);
    Override(flags_.gateway_advertise, config_.gateway_advertise);
    Http();
    if (flags_.reflection_flag->count() > 0) config_.reflection = flags_.reflection;
    config_.fault_injection |= flags_.fault_injection;
  }

  void Advertise() {
    const bool in_file = flags_.advertise.empty() && file_.Says("advertise");
    const std::string where = in_file ? file_.Where("advertise") : "--advertise";
    Override(flags_.advertise, config_.advertise);
    const bool only_sockets = std::all_of(config_.listen.begin(), config_.listen.end(),
                                          [](const auto& each) { return absl::StartsWith(each, "unix:"); });
    if (!only_sockets || AdvertisedAddress(config_.advertise, config_.listen)) return;
    Fault(where, "expected HOST:PORT: unix sockets, which alone are listened on, have no port");
  }

  // It has neither TLS nor callers that are known.
  void Http() {
    const bool given = flags_.http_flag->count() > 0;
    const std::string where = !given && file_.Says("http") ? file_.Where("http") : "--http";
    if (given) config_.http = flags_.http;
    if (config_.http.empty() || !IsTcpAddress(where, "HOST:PORT, or nothing for off", config_.http)) return;
    if (config_.insecure || IsLoopback(config_.http)) return;
    Fault(where, absl::StrCat(config_.http,
                              " is reached from other machines, without TLS and by "
                              "anybody: listen on 127.0.0.1, or say --insecure"));
  }

  bool IsTcpAddress(absl::string_view where, absl::string_view expected, const std::string& address) {
    int port = 0;
    const size_t colon = address.rfind(':');
    if (colon == std::string::npos || colon == 0 || address.find_first_of("/@") != std::string::npos ||
        address.find_first_not_of("0123456789", colon + 1) != std::string::npos ||
        !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535) {
      Fault(where, absl::StrCat("expected ", expected, ", got ", Quoted(address)));
      return false;
    }
    return true;
  }

  void TcpAddress(absl::string_view where, absl::string_view expected, const std::string& address) {
    if (!IsTcpAddress(where, expected, address)) return;
    if (!config_.insecure && config_.tls.cert.empty() && !IsLoopback(address)) {
      Fault(where, absl::StrCat(address, " is reached from other machines, without TLS",
                                config_.identities.empty() ? " and by anybody" : "",
                                ": give --tls-cert and --tls-key, listen on 127.0.0.1, or say --insecure"));
    } else if (!config_.insecure && config_.identities.empty() && !IsLoopback(address)) {
      Fault(where, absl::StrCat(address,
                                " is reached from other machines, and no tenant or identity is configured "
                                "that might call: configure some, or say --insecure"));
    }
  }

  void Database() {
    const bool embedded = flags_.embedded_flag->count() > 0;
    const bool pools = file_.Says("pools");
    const absl::string_view dsn_by = GivenBy("--dsn", "PGLESSOR_DSN", flags_.dsn);
    const absl::string_view control_dsn_by =
        GivenBy("--control-dsn", "PGLESSOR_CONTROL_DSN", flags_.control_dsn);
    if (embedded && !flags_.dsn.empty()) {
      Fault("--embedded", absl::StrCat("expected either ", dsn_by, " or --embedded, got both"));
    } else if (pools && (embedded || !flags_.dsn.empty())) {
      Fault(embedded ? "--embedded" : dsn_by,
            absl::StrCat("expected this or the pools of ", file_.file, ", got both"));
    } else if (!pools && !embedded && flags_.dsn.empty()) {
      Fault("--dsn",
            "expected --dsn postgresql://USER@HOST/DB, or --embedded for a private PostgreSQL, or --config "
            "with pools");
    } else if (pools && config_.pools.empty() && file_.faults.empty()) {
      Fault(file_.Where("pools"), "expected a pool: [pools.NAME]");
    }
    if (embedded) config_.embedded = flags_.embedded;
    if (embedded && !flags_.control_dsn.empty()) {
      Fault(control_dsn_by, "an embedded PostgreSQL has a control role of its own; leave it out");
    }
    PoolConfig pool;
    pool.dsn = Dsn(dsn_by, flags_.dsn);
    pool.control_dsn = Dsn(control_dsn_by, flags_.control_dsn);
    Sizes(pool.options);
    if (!pools) {
      config_.pools = {std::move(pool)};
    } else if (!flags_.control_dsn.empty() || !flags_.min_connections.empty() ||
               !flags_.max_connections.empty()) {
      Fault(!flags_.control_dsn.empty()       ? control_dsn_by
            : !flags_.min_connections.empty() ? "--min-connections"
                                              : "--max-connections",
            absl::StrCat("expected it in ", file_.file, ", as a key of the pool that it is for"));
    }
  }

  // Never quotes it: it may hold a password.
  std::string Dsn(absl::string_view flag, const std::string& dsn) {
    const absl::Status status = postgres::CheckDsn(dsn);
    if (!status.ok()) Fault(flag, status.message());
    return dsn;
  }

  void Sizes(core::PoolOptions& pool) {
    const size_t faults = faults_.lines.size();
    Number("--min-connections", flags_.min_connections, 0, pool.min_connections);
    Number("--max-connections", flags_.max_connections, 1, pool.max_connections);
    if (faults_.lines.size() > faults || pool.min_connections <= pool.max_connections) return;
    if (flags_.min_connections.empty()) {
      Fault("--max-connections", absl::StrCat("expected at least --min-connections, which is ",
                                              pool.min_connections, " by default"));
    } else {
      Fault("--min-connections",
            absl::StrCat("expected at most --max-connections, which is ", pool.max_connections));
    }
  }

  void Number(absl::string_view flag, const std::string& text, int32_t least, int32_t& target) {
    if (text.empty()) return;
    int32_t number = 0;
    if (!absl::SimpleAtoi(text, &number) || number < least || number > core::kMostConnections) {
      Fault(flag, absl::StrCat("expected a number from ", least, " to ", core::kMostConnections, ", got ",
                               Quoted(text)));
    } else {
      target = number;
    }
  }

  // A flag that is given: what `parse` makes of it.
  template <typename Parsed, typename Value>
  void Parse(absl::string_view flag, const std::string& text, absl::string_view expected,
             std::optional<Parsed> (*parse)(const std::string&), Value& target) {
    if (text.empty()) return;
    if (const auto parsed = parse(text)) {
      target = *parsed;
    } else {
      Fault(flag, absl::StrCat("expected ", expected, ", got ", Quoted(text)));
    }
  }

  void Running() {
    Parse("--drain-timeout", flags_.drain_timeout, "a time such as 30s, 500ms or 2m", ParseDuration,
          config_.drain_timeout);
    Parse("--log-level", flags_.log_level, "debug, info, warning or error", ParseLogLevel, config_.log_level);
    Parse("--log-format", flags_.log_format, "text, json or auto", ParseLogFormat, config_.log_format);
  }

  const Flags& flags_;
  FileReading file_;
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
      duration > absl::Hours(24 * 365) || duration % absl::Milliseconds(1) != absl::ZeroDuration()) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(absl::ToInt64Milliseconds(duration));
}

std::optional<ops::LogLevel> ParseLogLevel(const std::string& text) {
  for (const auto& level : kLogLevels) {
    if (text == level.name) return level.value;
  }
  return std::nullopt;
}

std::optional<ops::LogFormat> ParseLogFormat(const std::string& text) {
  if (text == "text" || (text == "auto" && isatty(STDERR_FILENO) == 1)) return ops::LogFormat::kText;
  if (text == "json" || text == "auto") return ops::LogFormat::kJson;
  return std::nullopt;
}

bool IsLoopback(const std::string& address) {
  const std::string host = address.substr(0, address.rfind(':'));
  return absl::StartsWith(address, "unix:") || host == "localhost" || host == "[::1]" ||
         (absl::StartsWith(host, "127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

}  // namespace pglessor
