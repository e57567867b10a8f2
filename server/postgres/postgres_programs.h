// Where PostgreSQL's server programs are installed.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace pglessor::postgres {

struct PostgresPrograms {
  std::string initdb;
  std::string postgres;
};

struct ProgramSearch {
  // Debian's folder of all versions, VERSION/bin each; the newest counts. Then the folders of
  // `path`, as in $PATH.
  std::string installed = "/usr/lib/postgresql";
  std::string path = {};
  std::string version = {};  // only this major version under `installed`; empty = any
};

// NotFound says what to install.
absl::StatusOr<PostgresPrograms> FindPostgresPrograms(const ProgramSearch& search);

}  // namespace pglessor::postgres
