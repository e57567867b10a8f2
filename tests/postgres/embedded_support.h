// What the tests of the embedded PostgreSQL share: a place for temporary files of their own,
// queries, and waiting for what happens in other processes.
#pragma once

#include <libpq-fe.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <thread>

#include "gtest/gtest.h"

namespace pglessor::postgres::embedded {

namespace fs = std::filesystem;

// Whether it comes true in time. Looks often, and never waits longer than needed.
template <typename Condition>
bool Eventually(const Condition& condition, std::chrono::seconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

// The first value of the answer, or PostgreSQL's error.
inline std::string Query(const std::string& dsn, const std::string& sql) {
  PGconn* connection = PQconnectdb(dsn.c_str());
  std::string answer = PQerrorMessage(connection);
  if (PQstatus(connection) == CONNECTION_OK) {
    PGresult* result = PQexec(connection, sql.c_str());
    answer = PQresultErrorMessage(result);
    if (answer.empty() && PQntuples(result) > 0) answer = PQgetvalue(result, 0, 0);
    PQclear(result);
  }
  PQfinish(connection);
  return answer;
}

inline std::set<std::string> NamesIn(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

// $TMPDIR of its own: a short path, since sockets allow no other, that PostgreSQL's user can get
// through.
// NOLINTBEGIN(concurrency-mt-unsafe): no other thread runs when it comes and goes
class OwnTmpdir {
 public:
  OwnTmpdir() {
    std::string path = "/tmp/pglessor-test-XXXXXX";
    path_ = mkdtemp(path.data());
    chmod(path.c_str(), 0711);
    setenv("TMPDIR", path.c_str(), 1);
  }
  ~OwnTmpdir() {
    unsetenv("TMPDIR");
    std::error_code error;
    fs::remove_all(path_, error);
    EXPECT_FALSE(error) << "is somebody still at work in " << path_ << "? " << error.message();
  }
  OwnTmpdir(const OwnTmpdir&) = delete;
  OwnTmpdir& operator=(const OwnTmpdir&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};
// NOLINTEND(concurrency-mt-unsafe)

class EmbeddedTest : public testing::Test {
 protected:
  const fs::path& folder() const { return tmpdir_.path(); }

 private:
  OwnTmpdir tmpdir_;
};

}  // namespace pglessor::postgres::embedded
