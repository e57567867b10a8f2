#include "server/postgres/postgres_programs.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pglessor::postgres {
namespace {

namespace fs = std::filesystem;

class PostgresProgramsTest : public testing::Test {
 protected:
  PostgresProgramsTest() {
    std::string path = (fs::temp_directory_path() / "pglessor-programs-XXXXXX").string();
    folder_ = mkdtemp(path.data());
  }
  ~PostgresProgramsTest() override { fs::remove_all(folder_); }

  void Install(const fs::path& folder) {
    fs::create_directories(folder_ / folder);
    for (const char* program : {"initdb", "postgres"}) {
      std::ofstream(folder_ / folder / program).flush();
      fs::permissions(folder_ / folder / program, fs::perms::owner_all);
    }
  }
  ProgramSearch Search(const std::string& version) const {
    return {.installed = folder_ / "versions",
            .path = absl::StrCat("/nowhere:", (folder_ / "path").string()),
            .version = version};
  }
  std::string Found(const std::string& version) const {
    const auto found = FindPostgresPrograms(Search(version));
    return found.ok() ? fs::relative(found->postgres, folder_).string() : "none";
  }

 private:
  fs::path folder_;
};

TEST_F(PostgresProgramsTest, TakesTheNewestVersionByNumber) {
  Install("versions/9/bin");
  Install("versions/15/bin");
  Install("path");
  EXPECT_EQ(Found(""), "versions/15/bin/postgres");
}

TEST_F(PostgresProgramsTest, TakesTheVersionThatIsAskedFor) {
  Install("versions/15/bin");
  Install("versions/17/bin");
  EXPECT_EQ(Found("15"), "versions/15/bin/postgres");
}

TEST_F(PostgresProgramsTest, PassesOverAVersionWithoutAServer) {
  Install("versions/15/bin");
  fs::create_directories(fs::path(Search("").installed) / "17/bin");
  EXPECT_EQ(Found(""), "versions/15/bin/postgres");
}

TEST_F(PostgresProgramsTest, LooksInThePathLast) {
  Install("path");
  EXPECT_EQ(Found(""), "path/postgres");
}

TEST_F(PostgresProgramsTest, SaysWhatToInstall) {
  const auto none = FindPostgresPrograms(Search("14"));
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(none.status().message()), testing::HasSubstr("apt-get install postgresql-14"));
}

}  // namespace
}  // namespace pglessor::postgres
