#include "tests/system/support/observer.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/system/support/eventually.h"

namespace pglessor::system {

Observer::Observer(const std::string& dsn, const std::string& data_directory)
    : connection_(PQconnectdb(dsn.c_str())) {
  EXPECT_EQ(PQstatus(connection_.get()), CONNECTION_OK) << PQerrorMessage(connection_.get());
  const std::string actual = Value("SHOW data_directory");
  EXPECT_EQ(actual, data_directory);
  if (actual != data_directory) connection_.reset();
}

std::vector<std::vector<std::string>> Observer::Rows(const std::string& sql) const {
  std::vector<std::vector<std::string>> rows;
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection_.get(), sql.c_str()),
                                                             &PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  EXPECT_TRUE(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
      << sql << ": " << PQresultErrorMessage(result.get());
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    std::vector<std::string>& values = rows.emplace_back();
    for (int column = 0; column < PQnfields(result.get()); ++column) {
      const bool null = PQgetisnull(result.get(), row, column) != 0;
      values.emplace_back(null ? "NULL" : PQgetvalue(result.get(), row, column));
    }
  }
  return rows;
}

std::string Observer::Value(const std::string& sql) const {
  const std::vector<std::vector<std::string>> rows = Rows(sql);
  return rows.empty() ? "" : rows.front().front();
}

int Observer::Count(const std::string& sql) const {
  int count = -1;
  EXPECT_TRUE(absl::SimpleAtoi(Value(sql), &count)) << sql;
  return count;
}

std::string Observer::Activity(int backend_pid, const std::string& column) const {
  return Value(absl::StrCat("SELECT ", column, " FROM pg_stat_activity WHERE pid = ", backend_pid));
}

int Observer::PglessorBackends() const {
  return Count("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pglessor%'");
}

bool Observer::AwaitRunning(int backend_pid, const std::string& sql) const {
  return Eventually([&] {
    return Activity(backend_pid, "state") == "active" &&
           absl::StrContains(Activity(backend_pid, "query"), sql);
  });
}

bool Observer::AwaitAsleep(int backend_pid) const {
  return Eventually([&] { return Activity(backend_pid, "wait_event") == "PgSleep"; });
}

bool Observer::AwaitIdle(int backend_pid) const {
  return Eventually([&] { return absl::StartsWith(Activity(backend_pid, "state"), "idle"); });
}

bool Observer::AwaitGone(int backend_pid) const {
  return Eventually([&] { return Activity(backend_pid, "pid").empty(); });
}

void Observer::Terminate(int backend_pid) const {
  EXPECT_EQ(Value(absl::StrCat("SELECT pg_terminate_backend(", backend_pid, ")")), "t");
}

}  // namespace pglessor::system
