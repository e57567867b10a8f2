#include "server/postgres/postgres_programs.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace pglessor::postgres {
namespace {

namespace fs = std::filesystem;

std::optional<PostgresPrograms> ProgramsIn(const fs::path& folder) {
  PostgresPrograms found = {.initdb = folder / "initdb", .postgres = folder / "postgres"};
  for (const std::string& program : {found.initdb, found.postgres}) {
    if (access(program.c_str(), X_OK) != 0) return std::nullopt;
  }
  return found;
}

std::vector<int> VersionsNewestFirst(const std::string& installed) {
  std::vector<int> versions;
  std::error_code error;
  for (fs::directory_iterator entry(installed, error), last; entry != last; entry.increment(error)) {
    int version = 0;
    if (absl::SimpleAtoi(entry->path().filename().string(), &version)) versions.push_back(version);
  }
  std::sort(versions.begin(), versions.end(), std::greater<>());
  return versions;
}

}  // namespace

absl::StatusOr<PostgresPrograms> FindPostgresPrograms(const ProgramSearch& search) {
  for (const int version : VersionsNewestFirst(search.installed)) {
    const std::string name = absl::StrCat(version);
    if (!search.version.empty() && name != search.version) continue;
    if (auto found = ProgramsIn(fs::path(search.installed) / name / "bin")) return *found;
  }
  for (const absl::string_view folder : absl::StrSplit(search.path, ':', absl::SkipEmpty())) {
    if (auto found = ProgramsIn(std::string(folder))) return *found;
  }
  const std::string package =
      search.version.empty() ? "postgresql" : absl::StrCat("postgresql-", search.version);
  return absl::NotFoundError(absl::StrCat(
      "PostgreSQL's programs initdb and postgres are neither in ", search.installed, "/",
      search.version.empty() ? "VERSION" : search.version,
      "/bin nor in $PATH: install PostgreSQL's server (on Debian: apt-get install ", package, ")"));
}

}  // namespace pglessor::postgres
