#include "server/postgres/embedded_server.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

#include "server/postgres/child_process.h"
#include "server/postgres/embedded_database.h"
#include "server/postgres/file_descriptor.h"
#include "server/postgres/postgres_programs.h"
#include "server/postgres/system_user.h"

namespace pglessor::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kStartPatience(30000);
constexpr milliseconds kTryAgainAfter(20);
constexpr int kReservedForSuperuser = 3;
// Those of the superuser that exist take none of the reserved ones but of all: ours for control, and
// those of Start that PostgreSQL is still closing.
constexpr int kUsedBySuperuser = 5;
constexpr off_t kMaxLogQuoted = 4096;
constexpr size_t kMaxLinesQuoted = 10;

// The first is a clean shutdown that cuts connections, the second one without a checkpoint.
constexpr EndingStep kStop[] = {
    {SIGINT, milliseconds(5000)}, {SIGQUIT, milliseconds(3000)}, {SIGKILL, milliseconds(2000)}};

std::string Environment(const char* name) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here changes the environment
  const char* value = getenv(name);
  return value != nullptr ? value : "";
}

// The user that PostgreSQL runs as; nothing = as ourselves.
absl::StatusOr<std::optional<SystemUser>> ServerUser() {
  if (geteuid() != 0) return std::nullopt;
  absl::StatusOr<SystemUser> user = SystemUserNamed("postgres");
  if (user.ok()) return *std::move(user);
  return absl::Status(user.status().code(),
                      absl::StrCat(user.status().message(),
                                   ", as which PostgreSQL runs where pglessor runs as root: install "
                                   "PostgreSQL's server (on Debian: apt-get install postgresql)"));
}

absl::StatusOr<PostgresPrograms> FindPrograms(const std::string& version) {
  return FindPostgresPrograms({.path = Environment("PATH"), .version = version});
}

// Nothing that PostgreSQL reads from our environment may change it, but for the time zone.
std::vector<std::string> ProgramEnvironment() {
  std::vector<std::string> environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"};
  const std::string zone = Environment("TZ");
  if (!zone.empty()) environment.push_back(absl::StrCat("TZ=", zone));
  return environment;
}

std::vector<std::string> ServerArguments(const EmbeddedFolder& folder, int max_connections) {
  std::vector<std::string> settings = {
      "listen_addresses=",
      "port=5432",
      // A list, whose entries may be quoted.
      absl::StrCat("unix_socket_directories=\"", absl::StrReplaceAll(folder.socket(), {{"\"", "\"\""}}),
                   "\""),
      "unix_socket_permissions=0700",
      absl::StrCat("hba_file=", folder.hba_file()),
      absl::StrCat("ident_file=", folder.ident_file()),
      absl::StrCat("max_connections=", max_connections + kUsedBySuperuser + kReservedForSuperuser),
      absl::StrCat("superuser_reserved_connections=", kReservedForSuperuser),
      "client_connection_check_interval=1s",
      "ssl=off",
      "logging_collector=off",
      "log_destination=stderr",
      "log_connections=on",  // it is from these lines that one sees how many we open
      "log_line_prefix=%m [%p] %q%u@%d %a ",
  };
  if (folder.temporary()) {
    settings.insert(settings.end(), {"fsync=off", "shared_buffers=32MB"});
  }
  std::vector<std::string> arguments = {"-D", folder.data()};
  for (std::string& setting : settings) {
    arguments.emplace_back("-c");
    arguments.push_back(std::move(setting));
  }
  return arguments;
}

// PostgreSQL's user may read it, and nobody but us write it.
absl::Status WriteForPostgres(const std::string& path, const std::string& content) {
  unlink(path.c_str());  // of the last start; if it cannot be removed, it cannot be made either
  FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file.valid() || fchmod(file.get(), 0644) != 0 ||
      write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    return absl::ErrnoToStatus(errno, absl::StrCat("write ", path));
  }
  return absl::OkStatus();
}

absl::Status WriteAccessRules(const EmbeddedFolder& folder) {
  const absl::StatusOr<SystemUser> us = CurrentSystemUser();
  if (!us.ok()) return us.status();
  absl::Status written = WriteForPostgres(
      folder.hba_file(), absl::StrCat("local ", kEmbeddedDatabase, " ", kEmbeddedRole, " trust\n",
                                      "local all ", kEmbeddedSuperuser, " peer map=owner\n"));
  if (!written.ok()) return written;
  return WriteForPostgres(folder.ident_file(),
                          absl::StrCat("owner \"", us->name, "\" ", kEmbeddedSuperuser, "\n"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddedServer>> EmbeddedServer::Start(const EmbeddedOptions& options) {
  if (options.max_connections < 1) {
    return absl::InvalidArgumentError("the embedded PostgreSQL needs at least one connection");
  }
  EmbeddedFolder::SweepLeftovers();
  // Before anything is touched.
  const absl::StatusOr<PostgresPrograms> installed = FindPrograms("");
  if (!installed.ok()) return installed.status();
  absl::StatusOr<EmbeddedFolder> folder =
      options.directory.empty() ? EmbeddedFolder::MakeTemporary() : EmbeddedFolder::Claim(options.directory);
  if (!folder.ok()) return folder.status();

  std::string log_file = options.log_file.empty() ? folder->log() + "/postgresql.log" : options.log_file;
  std::unique_ptr<EmbeddedServer> server(new EmbeddedServer(*std::move(folder), std::move(log_file)));
  absl::Status running = server->Run(options);
  if (!running.ok()) return running;  // what has been started ends with `server`
  return server;
}

EmbeddedServer::EmbeddedServer(EmbeddedFolder folder, std::string log_file)
    : folder_(std::move(folder)), data_(folder_.data()), log_file_(std::move(log_file)) {}

EmbeddedServer::~EmbeddedServer() {
  // A folder that is left over is swept by the next start; there is nobody to tell.
  Stop().IgnoreError();
}

absl::Status EmbeddedServer::Run(const EmbeddedOptions& options) {
  absl::StatusOr<std::optional<SystemUser>> user = ServerUser();
  if (!user.ok()) return user.status();
  const absl::StatusOr<PostgresPrograms> programs = FindPrograms(folder_.DataVersion().value_or(""));
  if (!programs.ok()) return programs.status();

  absl::StatusOr<std::unique_ptr<OwnerWatcher>> watcher = OwnerWatcher::Start(
      {.lock = folder_.lock(),
       .remove = folder_.temporary() ? folder_.RemovalOrder() : std::vector<std::string>{}});
  if (!watcher.ok()) return watcher.status();
  watcher_ = *std::move(watcher);

  absl::Status made = folder_.MakeSubfolders(*user);
  if (made.ok()) made = WriteAccessRules(folder_);
  if (!made.ok()) return made;
  FileDescriptor log(open(log_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open ", log_file_));
  log_start_ = lseek(log.get(), 0, SEEK_END);

  Program program = {.path = programs->initdb,
                     .environment = ProgramEnvironment(),
                     .directory = folder_.new_data(),
                     .user = *std::move(user),
                     .output = log.get(),
                     .alive = watcher_->alive(),
                     .announce = watcher_->announce()};
  if (!folder_.DataVersion().has_value()) {
    made = MakeData(program);
    if (!made.ok()) return made;
  }
  program.path = programs->postgres;
  program.arguments = ServerArguments(folder_, options.max_connections);
  program.directory = data_;
  const absl::StatusOr<pid_t> postmaster = Spawn(program);
  if (!postmaster.ok()) return postmaster.status();
  postmaster_ = *postmaster;
  watcher_->NoMorePrograms();

  absl::Status accepts = WaitUntilItAccepts();
  if (!accepts.ok()) return WithLog(accepts);
  absl::Status prepared = PrepareEmbeddedDatabase(folder_.socket());
  return prepared.ok() ? prepared : WithLog(prepared);
}

absl::Status EmbeddedServer::MakeData(const Program& initdb) {
  Program program = initdb;
  program.arguments = {"-D", folder_.new_data(), "--username", kEmbeddedSuperuser, "--encoding=UTF8",
                       "--locale=C.UTF-8",
                       // Of no effect while we run it (hba_file), and safe for whoever else does.
                       "--auth-local=peer", "--auth-host=reject", "--no-instructions"};
  if (folder_.temporary()) program.arguments.emplace_back("--no-sync");
  const absl::StatusOr<pid_t> child = Spawn(program);
  if (!child.ok()) return child.status();
  const absl::StatusOr<int> end = Reap(*child);
  if (!end.ok()) return end.status();
  std::error_code error;
  if (*end != 0 || !std::filesystem::exists(folder_.new_data() + "/PG_VERSION", error)) {
    return WithLog(absl::InternalError("initdb failed"));
  }
  std::filesystem::rename(folder_.new_data(), data_, error);
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat("rename to ", data_));
  return absl::OkStatus();
}

absl::Status EmbeddedServer::WaitUntilItAccepts() const {
  const EmbeddedLogin login = {folder_.socket(), kEmbeddedSuperuser, "postgres"};
  const steady_clock::time_point deadline = steady_clock::now() + kStartPatience;
  while (!AcceptsConnections(login)) {
    if (watcher_->WaitUntilAllEnded(kTryAgainAfter)) {
      return absl::InternalError("the embedded PostgreSQL ended while it started");
    }
    if (steady_clock::now() >= deadline) {
      return absl::InternalError(absl::StrCat("the embedded PostgreSQL does not accept connections ",
                                              kStartPatience.count() / 1000, " s after its start"));
    }
  }
  return absl::OkStatus();
}

absl::Status EmbeddedServer::WithLog(const absl::Status& status) const {
  std::ifstream file(log_file_, std::ios::ate);
  const off_t end = file.tellg();
  const off_t begin = std::max(log_start_, end - kMaxLogQuoted);
  if (!file || begin >= end) return status;
  std::string text(end - begin, '\0');
  file.seekg(begin);
  file.read(text.data(), end - begin);
  std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  if (lines.size() > kMaxLinesQuoted) lines.erase(lines.begin(), lines.end() - kMaxLinesQuoted);
  return absl::Status(status.code(),
                      absl::StrCat(status.message(), ". The end of its log:\n", absl::StrJoin(lines, "\n")));
}

absl::Status EmbeddedServer::Stop() {
  if (postmaster_ > 0) {
    if (!watcher_->End(postmaster_, kStop)) {
      return absl::DeadlineExceededError(
          absl::StrCat("the embedded PostgreSQL (process ", postmaster_, ") cannot be ended"));
    }
    const absl::StatusOr<int> reaped = Reap(std::exchange(postmaster_, 0));
    if (!reaped.ok()) return reaped.status();
  }
  watcher_.reset();
  return folder_.GiveBack();
}

std::string EmbeddedServer::dsn() const {
  return ConnectionString({folder_.socket(), kEmbeddedRole, kEmbeddedDatabase});
}

std::string EmbeddedServer::control_dsn() const {
  return ConnectionString({folder_.socket(), kEmbeddedSuperuser, kEmbeddedDatabase});
}

}  // namespace pglessor::postgres
