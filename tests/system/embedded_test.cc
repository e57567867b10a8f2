// pglessor with a PostgreSQL of its own, as somebody who tries it out runs it.
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/client.h"
#include "tests/system/support/eventually.h"
#include "tests/system/support/server_process.h"

namespace pglessor::system {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using testing::SizeIs;

class EmbeddedTest : public testing::Test {
 protected:
  // Where its temporary folders come.
  Environment InOwnTmpdir() const { return {{"TMPDIR", tmpdir_.path()}}; }

  std::vector<fs::path> Folders() const {
    std::vector<fs::path> folders;
    for (const auto& entry : fs::directory_iterator(tmpdir_.path())) folders.push_back(entry.path());
    return folders;
  }

  static pid_t PostmasterOf(const fs::path& folder) {
    int pid = 0;
    const std::string file = ReadFile(folder / "data/postmaster.pid");
    EXPECT_TRUE(absl::SimpleAtoi(file.substr(0, file.find('\n')), &pid)) << folder;
    return pid;
  }
  // Whether that process is still a PostgreSQL; a pid may be given anew.
  static bool RunsPostgres(pid_t pid) {
    return absl::StartsWith(ReadFile(absl::StrCat("/proc/", pid, "/comm")), "postgres");
  }

  TemporaryFolder tmpdir_;
};

TEST_F(EmbeddedTest, ServesAndLeavesNothing) {
  const auto server = ServerProcess::Start({"--embedded", "--min-connections=1"}, InOwnTmpdir());
  ASSERT_THAT(Folders(), SizeIs(1));
  const pid_t postmaster = PostmasterOf(Folders()[0]);
  {
    Client client(server->address());
    const auto held = client.Acquire();
    ASSERT_THAT(held, IsOk());
    const std::string& token = held.response.lease_token();
    EXPECT_THAT(client.Execute(token, "CREATE TABLE t AS SELECT 7 AS n"), IsOk());
    EXPECT_EQ(client.Execute(token, "SELECT n FROM t").Value(), "int_value: 7");
    EXPECT_EQ(client.Execute(token, "SELECT session_user || '@' || current_database()").Value(),
              "text_value: \"app@app\"");
    EXPECT_EQ(client.Execute(token, "SHOW is_superuser").Value(), "text_value: \"off\"");
    EXPECT_THAT(client.Release(token), IsOk());
  }
  EXPECT_EQ(server->End(), 0);
  EXPECT_FALSE(RunsPostgres(postmaster));
  EXPECT_THAT(Folders(), IsEmpty());
}

TEST_F(EmbeddedTest, KilledItTakesItsPostgresqlAlong) {
  const auto server = ServerProcess::Start({"--embedded", "--min-connections=1"}, InOwnTmpdir());
  ASSERT_THAT(Folders(), SizeIs(1));
  const fs::path folder = Folders()[0];
  const pid_t postmaster = PostmasterOf(folder);
  ASSERT_TRUE(RunsPostgres(postmaster));
  server->Kill();
  EXPECT_TRUE(Eventually([&] { return !RunsPostgres(postmaster); }, std::chrono::seconds(5)));

  const auto next = ServerProcess::Start({"--embedded", "--min-connections=1"}, InOwnTmpdir());
  EXPECT_TRUE(Eventually([&] { return !fs::exists(folder); }));
  EXPECT_THAT(Folders(), SizeIs(1));
  EXPECT_EQ(next->End(), 0);
  EXPECT_THAT(Folders(), IsEmpty());
}

TEST_F(EmbeddedTest, ANamedFolderKeepsItsDataAcrossAKill) {
  const fs::path folder = tmpdir_.path() / "kept";
  const Flags flags = {absl::StrCat("--embedded=", folder.string()), "--min-connections=1"};
  uint64_t fencing_token = 0;
  {
    const auto server = ServerProcess::Start(flags, InOwnTmpdir());
    Client client(server->address());
    const auto held = client.Acquire();
    ASSERT_THAT(held, IsOk());
    fencing_token = held.response.lease().fencing_token();
    EXPECT_THAT(client.Execute(held.response.lease_token(), "CREATE TABLE t AS SELECT 7 AS n"), IsOk());
    const pid_t postmaster = PostmasterOf(folder);
    server->Kill();
    EXPECT_TRUE(Eventually([&] { return !RunsPostgres(postmaster); }));
  }
  const auto server = ServerProcess::Start(flags, InOwnTmpdir());
  {
    Client client(server->address());
    const auto held = client.Acquire();
    ASSERT_THAT(held, IsOk());
    EXPECT_GT(held.response.lease().fencing_token(), fencing_token);
    EXPECT_EQ(client.Execute(held.response.lease_token(), "SELECT n FROM t").Value(), "int_value: 7");
    EXPECT_THAT(client.Release(held.response.lease_token()), IsOk());
  }
  EXPECT_EQ(server->End(), 0);
  EXPECT_TRUE(fs::exists(folder / "data"));
}

TEST_F(EmbeddedTest, AFolderOfSomethingElseIsNotTouched) {
  const fs::path folder = tmpdir_.path() / "documents";
  fs::create_directory(folder);
  fs::create_directory(folder / "thesis");
  const FinishedRun run = RunPglessor({absl::StrCat("--embedded=", folder.string())}, InOwnTmpdir());
  EXPECT_EQ(run.exit, 1);
  EXPECT_THAT(run.log, testing::HasSubstr(folder.string()));
  EXPECT_TRUE(fs::exists(folder / "thesis"));
}

}  // namespace
}  // namespace pglessor::system
