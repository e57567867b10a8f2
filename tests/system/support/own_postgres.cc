#include "tests/system/support/own_postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "server/postgres/postgres_programs.h"
#include "server/postgres/system_user.h"
#include "tests/system/support/eventually.h"

namespace pglessor::system {
namespace {

[[noreturn]] void GiveUp(const std::string& why) {
  std::cerr << why << std::endl;
  std::abort();
}

// Of /proc/PID/status; empty if there is no such process, or no such line.
std::string StatusLine(int pid, const std::string& name) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (absl::StartsWith(line, name + ":\t")) return line.substr(name.size() + 2);
  }
  return "";
}

int Recoveries(const Process& postmaster) {
  const std::string log = postmaster.Log();
  const std::string line = "all server processes terminated; reinitializing";
  int count = 0;
  for (size_t at = log.find(line); at != std::string::npos; at = log.find(line, at + 1)) ++count;
  return count;
}

}  // namespace

OwnPostgres::OwnPostgres() : place_(folder_.path() / "pg") {
  MakePlace();
  Finish(Command("initdb", {"--pgdata", place_ + "/data", "--username", "postgres", "--auth", "trust",
                            "--locale", "C", "--encoding", "UTF8", "--no-sync"}));
  Run();
  AwaitAccepts("postgres");
  Observer setup(Dsn("postgres", "postgres"), place_ + "/data");
  setup.Run("CREATE ROLE app LOGIN");
  setup.Run("CREATE DATABASE app OWNER app");
  Observe();
}

OwnPostgres::OwnPostgres(StandbyOf of) : place_(folder_.path() / "pg") {
  MakePlace();
  Finish(Command("pg_basebackup", {"--pgdata", place_ + "/data", "--dbname", of.primary.control_dsn(),
                                   "--write-recovery-conf", "--checkpoint=fast", "--no-sync"}));
  Start();
}

OwnPostgres::~OwnPostgres() {
  observer_.reset();
  Thaw();
  Stop(Shutdown::kImmediate);
}

void OwnPostgres::Stop(Shutdown how) {
  postmaster_->Signal(how == Shutdown::kFast ? SIGINT : SIGQUIT);
  EXPECT_TRUE(postmaster_->AwaitEnd().has_value());
}

void OwnPostgres::Start() {
  Run();
  AwaitAccepts("app");
  Observe();
}

void OwnPostgres::KillBackend(int backend_pid) {
  ASSERT_EQ(StatusLine(backend_pid, "PPid"), absl::StrCat(postmaster_->pid())) << "it is not one of ours";
  const int before = Recoveries(*postmaster_);
  ASSERT_EQ(kill(backend_pid, SIGKILL), 0);
  EXPECT_TRUE(Eventually([&] { return Recoveries(*postmaster_) > before; }));
  AwaitAccepts("app");
  Observe();
}

void OwnPostgres::AwaitReplay(OwnPostgres& primary) {
  const std::string written = primary.observer().Value("SELECT pg_current_wal_flush_lsn()");
  EXPECT_TRUE(Eventually([&] {
    return observer().Value("SELECT pg_last_wal_replay_lsn() >= '" + written + "'") == "t";
  })) << written;
}

void OwnPostgres::Promote() { EXPECT_EQ(observer().Value("SELECT pg_promote()"), "t"); }

void OwnPostgres::MakePlace() {
  if (mkdir(place_.c_str(), 0700) != 0) GiveUp(place_ + " cannot be made");
  if (geteuid() != 0) return;
  const auto user = postgres::SystemUserNamed("postgres");
  if (!user.ok()) GiveUp(user.status().ToString());
  if (chown(place_.c_str(), user->uid, user->gid) != 0) GiveUp(place_ + " cannot be given away");
}

void OwnPostgres::Finish(const Process::Command& command) {
  Process process(command);
  if (process.AwaitEnd() != 0) GiveUp(process.Log() + process.Output());
}

void OwnPostgres::Run() {
  postmaster_ = std::make_unique<Process>(
      Command("postgres", {"-D", place_ + "/data", "-c", "listen_addresses=", "-c", "fsync=off", "-c",
                           "max_connections=60", "-c", "unix_socket_directories=" + place_}));
}

std::string OwnPostgres::Dsn(const std::string& user, const std::string& database) const {
  return absl::StrCat("postgresql://", user, "@/", database, "?host=", place_);
}

Process::Command OwnPostgres::Command(const std::string& program,
                                      const std::vector<std::string>& arguments) const {
  const char* const path = getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody changes it
  const auto found = postgres::FindPostgresPrograms({.path = path == nullptr ? "" : path});
  if (!found.ok()) GiveUp(found.status().ToString());
  // Changing the user clears what Process asks of the kernel, so that it is asked again.
  std::vector<std::string> words = {"--pdeathsig=QUIT"};
  if (geteuid() == 0) {
    for (const char* word : {"--reuid=postgres", "--regid=postgres", "--init-groups"})
      words.emplace_back(word);
  }
  words.push_back(std::filesystem::path(found->initdb).replace_filename(program));
  words.insert(words.end(), arguments.begin(), arguments.end());
  return {"/usr/bin/setpriv", words, {{"LC_ALL", "C"}}};
}

void OwnPostgres::AwaitAccepts(const std::string& database) {
  const std::string dsn = Dsn("postgres", database);
  if (!Eventually([&] { return PQping(dsn.c_str()) == PQPING_OK; })) GiveUp(postmaster_->Log());
}

void OwnPostgres::Observe() {
  observer_.reset();
  observer_ = std::make_unique<Observer>(control_dsn(), place_ + "/data");
}

}  // namespace pglessor::system
