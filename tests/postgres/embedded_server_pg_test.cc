// What the embedded PostgreSQL is while it runs, and which folders it takes.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/postgres/embedded_folder.h"
#include "server/postgres/embedded_server.h"
#include "server/postgres/folder_lock.h"
#include "server/postgres/postgres_processes.h"
#include "server/postgres/system_user.h"
#include "tests/postgres/embedded_support.h"

namespace pglessor::postgres::embedded {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

using EmbeddedServerTest = EmbeddedTest;

std::unique_ptr<EmbeddedServer> MustStart(const EmbeddedOptions& options = {}) {
  auto server = EmbeddedServer::Start(options);
  if (!server.ok()) throw std::runtime_error(server.status().ToString());
  return *std::move(server);
}

absl::Status StartIn(const fs::path& directory) {
  return EmbeddedServer::Start({.directory = directory.string()}).status();
}

// One server for all that only look at it.
class RunningEmbeddedServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    tmpdir_ = std::make_unique<OwnTmpdir>();
    server = MustStart();
  }
  static void TearDownTestSuite() {
    server.reset();
    tmpdir_.reset();
  }

  static std::unique_ptr<EmbeddedServer> server;

 private:
  static std::unique_ptr<OwnTmpdir> tmpdir_;
};
std::unique_ptr<EmbeddedServer> RunningEmbeddedServerTest::server;
std::unique_ptr<OwnTmpdir> RunningEmbeddedServerTest::tmpdir_;

TEST_F(RunningEmbeddedServerTest, AnswersAsAppWhichIsNoSuperuserAndOwnsNoDatabase) {
  EXPECT_EQ(Query(server->dsn(), "SELECT current_user || '@' || current_database()"), "app@app");
  EXPECT_EQ(Query(server->dsn(),
                  "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication "
                  "FROM pg_roles WHERE rolname = current_user"),
            "f");
  EXPECT_EQ(Query(server->dsn(),
                  "SELECT count(*) FROM pg_database WHERE "
                  "pg_get_userbyid(datdba) = current_user"),
            "0");
}

TEST_F(RunningEmbeddedServerTest, LetsAppCreateTables) {
  EXPECT_EQ(Query(server->dsn(), "CREATE TABLE t AS SELECT 7 AS n"), "");
  EXPECT_EQ(Query(server->dsn(), "SELECT n FROM t"), "7");
}

TEST_F(RunningEmbeddedServerTest, GivesItsOwnerTheSuperuserOnTheSameDatabase) {
  EXPECT_EQ(Query(server->control_dsn(),
                  "SELECT current_user || '@' || current_database() || "
                  "current_setting('is_superuser')"),
            "postgres@appon");
}

TEST_F(RunningEmbeddedServerTest, KeepsAppToItsDatabase) {
  std::string elsewhere = server->dsn();
  elsewhere.replace(elsewhere.find("dbname=app"), 10, "dbname=postgres");
  EXPECT_THAT(Query(elsewhere, "SELECT 1"), HasSubstr("no pg_hba.conf entry"));
}

TEST_F(RunningEmbeddedServerTest, LetsNoOtherSystemUserBeTheSuperuser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can try as another user";
  const SystemUser other = SystemUserNamed("postgres").value();
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(other.gid) != 0 || setuid(other.uid) != 0) _exit(2);
    const std::string answer = Query(server->control_dsn(), "SELECT 1");
    _exit(answer.find("Peer authentication failed") != std::string::npos ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(RunningEmbeddedServerTest, ListensOnNoTcpPort) {
  EXPECT_EQ(Query(server->control_dsn(), "SHOW listen_addresses"), "");
}

TEST_F(RunningEmbeddedServerTest, LogsEachNewConnection) {
  Query(server->dsn() + " application_name=probe", "SELECT 1");
  std::ifstream file(server->log_file());
  const std::string log{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(log, testing::ContainsRegex("app@app .*connection authorized: user=app .*=probe"));
}

TEST_F(RunningEmbeddedServerTest, IsNotInTheSessionOfItsOwnersTerminal) {
  EXPECT_EQ(getsid(server->postmaster_pid()), server->postmaster_pid());
}

TEST_F(EmbeddedServerTest, GivesAppAllTheConnectionsThatWereAskedForBesideTheSuperusers) {
  const auto server = MustStart({.max_connections = 2});
  std::vector<PGconn*> held = {PQconnectdb(server->control_dsn().c_str())};
  do {
    held.push_back(PQconnectdb(server->dsn().c_str()));
  } while (PQstatus(held.back()) == CONNECTION_OK && held.size() < 20);
  EXPECT_GE(held.size(), 1U + 2 + 1) << PQerrorMessage(held.back());
  EXPECT_LT(held.size(), 20U);
  EXPECT_EQ(Query(server->control_dsn(), "SELECT 1"), "1") << "although app has taken all it can";
  for (PGconn* connection : held) PQfinish(connection);
}

TEST_F(EmbeddedServerTest, WritesTheLogThatItIsGiven) {
  const std::string log = folder() / "elsewhere.log";
  const auto server = MustStart({.log_file = log});
  EXPECT_EQ(server->log_file(), log);
  EXPECT_GT(fs::file_size(log), 0U);
}

TEST_F(EmbeddedServerTest, HoldsNoneOfItsOwnersDescriptors) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);  // not close-on-exec
  const auto server = MustStart();
  close(ends[1]);
  pollfd watched = {.fd = ends[0], .events = 0, .revents = 0};
  EXPECT_EQ(poll(&watched, 1, 0), 1) << "somebody holds the other end";
  close(ends[0]);
}

TEST_F(EmbeddedServerTest, QuotesPostgresWhenItDoesNotStart) {
  const fs::path directory = folder() / "kept";
  ASSERT_TRUE(StartIn(directory).ok());
  std::ofstream(directory / "data/postgresql.conf", std::ios::app) << "nonsense = 1\n";
  const absl::Status status = StartIn(directory);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("unrecognized configuration parameter"));
  EXPECT_THAT(PostgresProcessesIn(directory), IsEmpty());
}

// --- Folders that the user names ---------------------------------------------------------------

TEST_F(EmbeddedServerTest, KeepsItsDataInANamedFolder) {
  // These mean something to libpq or to PostgreSQL's settings.
  const fs::path directory = folder() / "it's \"kept\" \\ #1";
  Query(MustStart({.directory = directory})->dsn(), "CREATE TABLE t AS SELECT 7 AS n");
  const auto again = MustStart({.directory = directory});
  EXPECT_EQ(Query(again->dsn(), "SELECT n FROM t"), "7");
  EXPECT_EQ(again->data_directory(), directory / "data");
}

TEST_F(EmbeddedServerTest, DoesTheMissingHalfOfAnInterruptedInitdb) {
  const fs::path directory = folder() / "kept";
  ASSERT_TRUE(StartIn(directory).ok());
  fs::rename(directory / "data", directory / "data.new");
  fs::remove(directory / "data.new/global/pg_control");
  EXPECT_EQ(Query(MustStart({.directory = directory})->dsn(), "SELECT 1"), "1");
}

TEST_F(EmbeddedServerTest, TouchesNoFolderThatIsNotOurs) {
  const fs::path directory = folder() / "theirs";
  fs::create_directories(directory / "data");
  std::ofstream(directory / "data/PG_VERSION") << "15\n";
  fs::permissions(directory, fs::perms::owner_all);
  const absl::Status status = StartIn(directory);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(NamesIn(directory), std::set<std::string>{"data"});
  EXPECT_EQ(fs::status(directory).permissions(), fs::perms::owner_all);
}

TEST_F(EmbeddedServerTest, RefusesAFileForAFolder) {
  std::ofstream(folder() / "file").flush();
  const absl::Status status = StartIn(folder() / "file");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("file is not a folder"));
}

TEST_F(EmbeddedServerTest, RefusesAPathTooLongForASocket) {
  const fs::path directory = folder() / std::string(87 - folder().string().size() - 1, 'x');
  const absl::Status status = StartIn(directory);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("a folder whose path has at most 86 bytes"));
  EXPECT_THAT(NamesIn(folder()), IsEmpty());
}

TEST_F(EmbeddedServerTest, RefusesAPathWithACommaWhichLibpqWouldTakeForTwo) {
  EXPECT_EQ(StartIn(folder() / "a,b").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(NamesIn(folder()), IsEmpty());
}

TEST_F(EmbeddedServerTest, TakesTheLongestPathThatASocketAllows) {
  const size_t room = 86 - folder().string().size() - 1;
  EXPECT_TRUE(StartIn(folder() / std::string(room, 'x')).ok());
  EXPECT_EQ(StartIn(folder() / std::string(room + 1, 'x')).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(EmbeddedServerTest, RefusesATmpdirTooLongForASocket) {
  const fs::path longer = folder() / std::string(60, 'x');
  fs::create_directory(longer);
  // NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread runs
  setenv("TMPDIR", longer.c_str(), 1);
  const absl::Status status = EmbeddedServer::Start({}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("set TMPDIR to"));
  EXPECT_THAT(NamesIn(longer), IsEmpty());
}

TEST_F(EmbeddedServerTest, SaysWhichUserCannotReachItsFolder) {
  if (geteuid() != 0) GTEST_SKIP() << "only as root it runs as another user";
  fs::create_directory(folder() / "closed");
  fs::permissions(folder() / "closed", fs::perms::owner_all);
  EXPECT_THAT(std::string(StartIn(folder() / "closed/kept").message()),
              HasSubstr("as the user postgres (each folder above it must let that user through)"));
}

TEST_F(EmbeddedServerTest, RefusesAFolderInUseAndLeavesItsUserAlone) {
  const auto server = MustStart({.directory = folder() / "kept"});
  const absl::Status status = StartIn(folder() / "kept");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("in use by another pglessor"));
  EXPECT_EQ(Query(server->dsn(), "SELECT 1"), "1");
}

TEST_F(EmbeddedServerTest, RefusesAFolderWhereAPostgresRunsThatIsNotOurs) {
  const fs::path directory = folder() / "kept";
  const auto server = MustStart({.directory = directory});
  fs::remove(directory / "pglessor.lock");
  std::ofstream(directory / "pglessor.lock").flush();  // a lock that nobody holds
  const absl::Status status = StartIn(directory);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(std::to_string(server->postmaster_pid())));
  EXPECT_EQ(Query(server->dsn(), "SELECT 1"), "1");
}

// --- Several at once -----------------------------------------------------------------------------

TEST_F(EmbeddedServerTest, ServersStartedAtOnceLeaveOneAnotherAlone) {
  std::vector<std::unique_ptr<EmbeddedServer>> servers(3);
  std::vector<std::thread> starters;
  starters.reserve(servers.size());
  for (auto& server : servers) {
    starters.emplace_back([&server] { server = MustStart(); });
  }
  for (std::thread& starter : starters) starter.join();
  ASSERT_TRUE(servers[0]->Stop().ok());
  EXPECT_EQ(NamesIn(folder()).size(), 2U);
  for (size_t i = 1; i < servers.size(); ++i) {
    EXPECT_EQ(Query(servers[i]->dsn(), "SELECT 1"), "1");
  }
}

// Whether somebody beside us has the folder open: he waits for the lock on it.
bool SomebodyWaitsFor(const fs::path& folder) {
  int holders = 0;
  for (const auto& fd : fs::directory_iterator("/proc/self/fd")) {
    std::error_code closed;
    if (fs::read_symlink(fd.path(), closed) == folder) ++holders;
  }
  return holders == 2;
}

TEST_F(EmbeddedServerTest, SweepsNoFolderThatIsJustBeingMade) {
  auto making = LockBriefly(folder(), std::chrono::seconds(1));
  const fs::path made = folder() / "pglessor-pg-abcdef";
  fs::create_directory(made);
  std::thread sweeper([] { EmbeddedFolder::SweepLeftovers(); });
  EXPECT_TRUE(Eventually([this] { return SomebodyWaitsFor(folder()); }, std::chrono::seconds(5)));
  const auto lock = TakeFolderLock(made / "temporary.lock", LockFile::kMadeIfAbsent);
  making->Close();
  sweeper.join();
  EXPECT_TRUE(lock.ok()) << lock.status();
  EXPECT_TRUE(fs::exists(made / "temporary.lock"));
}

TEST_F(EmbeddedServerTest, MakesNoFolderDuringASweep) {
  auto sweeping = LockBriefly(folder(), std::chrono::seconds(1));
  std::thread maker([] { EXPECT_TRUE(EmbeddedFolder::MakeTemporary()->GiveBack().ok()); });
  EXPECT_TRUE(Eventually([this] { return SomebodyWaitsFor(folder()); }, std::chrono::seconds(5)));
  EXPECT_THAT(NamesIn(folder()), IsEmpty());
  sweeping->Close();
  maker.join();
}

}  // namespace
}  // namespace pglessor::postgres::embedded
