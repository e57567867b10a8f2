// How the embedded PostgreSQL ends: when told to, and when its owner is killed. An owner to kill is
// this program run again (see main).
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iostream>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/postgres/embedded_server.h"
#include "server/postgres/postgres_processes.h"
#include "tests/postgres/embedded_support.h"
#include "tests/support/freeze.h"

// NOLINTBEGIN(concurrency-mt-unsafe): these tests, and the owners that they start, have one thread
namespace pglessor::postgres::embedded {
namespace {

using std::chrono::seconds;
using testing::IsEmpty;

constexpr char kOwnerOf[] = "PGLESSOR_TEST_OWNER_OF";  // set: be an owner, of a server in this folder
constexpr seconds kEndsWithin(5);                      // the contract's

using EmbeddedEndTest = EmbeddedTest;

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

int BeOwner() {
  const auto server = EmbeddedServer::Start({.directory = getenv(kOwnerOf)});
  if (!server.ok()) {
    std::cerr << server.status() << std::endl;
    return 1;
  }
  std::cout << (*server)->dsn() << std::endl;
  for (;;) pause();
}

// Another process with a server of its own. Its death is not noticed (it stays a zombie) until it
// goes.
class Owner {
 public:
  explicit Owner(const std::string& directory = "") {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    setenv(kOwnerOf, directory.c_str(), 1);
    pid_ = fork();
    if (pid_ == 0) {
      setpgid(0, 0);
      dup2(ends[1], STDOUT_FILENO);
      execl("/proc/self/exe", "owner", "--embedded", nullptr);
      _exit(127);
    }
    unsetenv(kOwnerOf);
    close(ends[1]);
    output_ = ends[0];
  }
  ~Owner() {
    Kill();
    waitpid(pid_, nullptr, 0);
    close(output_);
  }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

  pid_t pid() const { return pid_; }
  void Kill() const {
    kill(pid_, SIGKILL);
    siginfo_t ended = {};
    waitid(P_PID, pid_, &ended, WEXITED | WNOWAIT);
  }

  // Waits for its server; empty if it failed.
  std::string Dsn() const {
    std::string line;
    char next = 0;
    while (read(output_, &next, 1) == 1 && next != '\n') line += next;
    return line;
  }

  // The process that is to outlive it; 0 if there is none.
  pid_t Watcher() const {
    for (const auto& entry : fs::directory_iterator("/proc")) {
      pid_t pid = 0;
      if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
      std::istringstream stat(ReadFile(entry.path() / "stat"));
      std::string number, name, state;
      pid_t parent = 0;
      stat >> number >> name >> state >> parent;
      if (parent == pid_ && name == "(pg-owner-watch)") return pid;
    }
    return 0;
  }

 private:
  pid_t pid_ = -1;
  int output_ = -1;
};

class KilledOwnerTest : public EmbeddedTest {
 protected:
  // Of the only server here.
  pid_t Postmaster() const {
    const fs::path server = folder() / *NamesIn(folder()).begin();
    return std::stoi(ReadFile(server / "data/postmaster.pid"));
  }
  bool Runs(pid_t postmaster) const {
    const std::vector<pid_t> running = PostgresProcessesIn(folder());
    return std::find(running.begin(), running.end(), postmaster) != running.end();
  }
  bool NoPostgresWithin(seconds patience) const {
    return Eventually([this] { return PostgresProcessesIn(folder()).empty(); }, patience);
  }
  bool NoFolderWithin(seconds patience) const {
    return Eventually([this] { return NamesIn(folder()).empty(); }, patience);
  }
};

TEST_F(EmbeddedEndTest, StopLeavesNoProcessAndNoFolder) {
  auto server = EmbeddedServer::Start({});
  ASSERT_TRUE(server.ok()) << server.status();
  ASSERT_EQ(NamesIn(folder()).size(), 1U);
  ASSERT_FALSE(PostgresProcessesIn(folder()).empty());
  EXPECT_TRUE((*server)->Stop().ok());
  EXPECT_THAT(PostgresProcessesIn(folder()), IsEmpty());
  EXPECT_THAT(NamesIn(folder()), IsEmpty());
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a child was not reaped";
  EXPECT_TRUE((*server)->Stop().ok()) << "again";
}

TEST_F(EmbeddedEndTest, StopCutsABusyConnectionAndShutsDownCleanly) {
  auto server = EmbeddedServer::Start({.directory = folder() / "kept"});
  ASSERT_TRUE(server.ok()) << server.status();
  PGconn* connection = PQconnectdb((*server)->dsn().c_str());
  ASSERT_EQ(PQsendQuery(connection, "SELECT pg_sleep(3600)"), 1);
  EXPECT_TRUE((*server)->Stop().ok());
  PQfinish(connection);
  const std::string log = ReadFile((*server)->log_file());
  EXPECT_THAT(log, testing::HasSubstr("received fast shutdown request"));
  EXPECT_THAT(log, testing::Not(testing::HasSubstr("immediate shutdown")));
}

TEST_F(EmbeddedEndTest, StopEndsAPostgresThatDoesNotReact) {
  auto server = EmbeddedServer::Start({});
  ASSERT_TRUE(server.ok()) << server.status();
  ASSERT_TRUE(test::Freeze((*server)->postmaster_pid()));
  EXPECT_TRUE((*server)->Stop().ok());
  EXPECT_THAT(PostgresProcessesIn(folder()), IsEmpty());
  EXPECT_THAT(NamesIn(folder()), IsEmpty());
}

TEST_F(EmbeddedEndTest, StopClearsUpAfterAPostgresThatWasKilled) {
  auto server = EmbeddedServer::Start({});
  ASSERT_TRUE(server.ok()) << server.status();
  kill((*server)->postmaster_pid(), SIGKILL);
  EXPECT_TRUE((*server)->Stop().ok());
  EXPECT_THAT(NamesIn(folder()), IsEmpty());
}

TEST_F(EmbeddedEndTest, NeedsNoSignalHandlerOfItsOwners) {
  signal(SIGCHLD, SIG_IGN);  // the kernel reaps then, and waitpid knows of nobody
  auto server = EmbeddedServer::Start({});
  EXPECT_TRUE(server.ok() && (*server)->Stop().ok());
  signal(SIGCHLD, SIG_DFL);
  EXPECT_THAT(NamesIn(folder()), IsEmpty());
}

TEST_F(EmbeddedEndTest, StopGivesANamedFolderBack) {
  const EmbeddedOptions options = {.directory = folder() / "kept"};
  auto server = EmbeddedServer::Start(options);
  ASSERT_TRUE(server.ok() && (*server)->Stop().ok());
  EXPECT_TRUE(EmbeddedServer::Start(options).ok());
}

TEST_F(KilledOwnerTest, TakesPostgresAndTheFolderWithIt) {
  const Owner owner;
  ASSERT_EQ(Query(owner.Dsn(), "SELECT 1"), "1");
  owner.Kill();
  EXPECT_TRUE(NoPostgresWithin(kEndsWithin));
  EXPECT_TRUE(NoFolderWithin(kEndsWithin));
}

TEST_F(KilledOwnerTest, TakesAPostgresWithItThatDoesNotReact) {
  const Owner owner;
  ASSERT_NE(owner.Dsn(), "");
  const pid_t postmaster = Postmaster();
  for (const pid_t pid : PostgresProcessesIn(folder())) ASSERT_TRUE(test::Freeze(pid));
  owner.Kill();
  EXPECT_TRUE(Eventually([&] { return !Runs(postmaster); }, kEndsWithin));
  for (const pid_t pid : PostgresProcessesIn(folder())) kill(pid, SIGCONT);
  EXPECT_TRUE(NoFolderWithin(kEndsWithin));
}

TEST_F(KilledOwnerTest, TakesPostgresWithItAlthoughItsWholeGroupIsKilled) {
  const Owner owner;
  ASSERT_NE(owner.Dsn(), "");
  kill(-owner.pid(), SIGKILL);
  EXPECT_TRUE(NoPostgresWithin(kEndsWithin));
  EXPECT_TRUE(NoFolderWithin(kEndsWithin));
}

TEST_F(KilledOwnerTest, HasAWatcherThatNoSignalMeantForItReaches) {
  const Owner owner;
  ASSERT_NE(owner.Dsn(), "");
  const pid_t watcher = owner.Watcher();
  ASSERT_GT(watcher, 0);
  EXPECT_EQ(getsid(watcher), watcher);
  // For pkill -f.
  EXPECT_EQ(ReadFile(absl::StrCat("/proc/", watcher, "/cmdline")).find("--embedded"), std::string::npos);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) kill(watcher, signal);
  owner.Kill();
  EXPECT_TRUE(NoPostgresWithin(kEndsWithin));
  EXPECT_TRUE(NoFolderWithin(kEndsWithin));
}

TEST_F(KilledOwnerTest, TakesAnInitdbWithIt) {
  const Owner owner;
  const auto initdb_runs = [this] { return !PostgresProcessesIn(folder()).empty(); };
  ASSERT_TRUE(Eventually(initdb_runs, seconds(10)));
  owner.Kill();
  EXPECT_TRUE(NoPostgresWithin(kEndsWithin));
  EXPECT_TRUE(NoFolderWithin(kEndsWithin));
}

TEST_F(KilledOwnerTest, LeavesANamedFolderThatCanBeUsedAtOnce) {
  const std::string directory = folder() / "kept";
  const Owner owner(directory);
  ASSERT_EQ(Query(owner.Dsn(), "CREATE TABLE t AS SELECT 7 AS n"), "");
  owner.Kill();
  auto next = EmbeddedServer::Start({.directory = directory});
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(Query((*next)->dsn(), "SELECT n FROM t"), "7");
}

TEST_F(KilledOwnerTest, LeavesNothingAfterTheNextStartAlthoughItsWatcherWasKilledToo) {
  const Owner owner;
  const std::string dsn = owner.Dsn();
  ASSERT_NE(dsn, "");
  const pid_t postmaster = Postmaster();
  kill(owner.Watcher(), SIGKILL);
  owner.Kill();
  ASSERT_EQ(Query(dsn, "SELECT 1"), "1") << "a PostgreSQL that nobody watches";
  auto next = EmbeddedServer::Start({});
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_FALSE(Runs(postmaster));
  EXPECT_EQ(NamesIn(folder()).size(), 1U);
  EXPECT_EQ(Query((*next)->dsn(), "SELECT 1"), "1");
}

TEST_F(KilledOwnerTest, LeavesNothingAfterTheNextStartThatFollowsAtOnce) {
  const Owner owner;
  ASSERT_NE(owner.Dsn(), "");
  owner.Kill();
  const auto next = EmbeddedServer::Start({});
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(NamesIn(folder()).size(), 1U);
}

TEST_F(EmbeddedEndTest, ASweepTakesLeftoversAndNothingElse) {
  const auto make = [this](const std::string& name, const std::string& file) {
    fs::create_directory(folder() / name);
    if (!file.empty()) std::ofstream(folder() / name / file) << "1\n";
  };
  make("pglessor-pg-left00", "temporary.lock");  // a dead owner's
  make("pglessor-pg-left01", "");                // killed before it had a lock
  make("pglessor-pg-backup", "pglessor.lock");   // a named one
  make("pglessor-pg-theirs", "notes");
  make("somebody-elses-dir", "temporary.lock");
  fs::create_symlink("somebody-elses-dir", folder() / "pglessor-pg-symlnk");
  const EmbeddedOptions options = {.directory = folder() / "kept"};
  const auto server = EmbeddedServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(NamesIn(folder()), (std::set<std::string>{"kept", "pglessor-pg-backup", "pglessor-pg-symlnk",
                                                      "pglessor-pg-theirs", "somebody-elses-dir"}));
  EXPECT_TRUE(fs::exists(folder() / "somebody-elses-dir/temporary.lock"));
}

}  // namespace
}  // namespace pglessor::postgres::embedded

int main(int argc, char** argv) {
  if (getenv(pglessor::postgres::embedded::kOwnerOf) != nullptr) {
    return pglessor::postgres::embedded::BeOwner();
  }
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
// NOLINTEND(concurrency-mt-unsafe)
