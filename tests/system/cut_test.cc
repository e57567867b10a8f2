// The connection to PostgreSQL is cut at every byte of a statement's exchange: what the holder is told, and
// what then stands in the table.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/cutting_proxy.h"
#include "tests/system/support/own_postgres.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using Way = CuttingProxy::Way;

// What is cut, and what its holder has run before.
struct Exchange {
  const char* name;
  std::vector<std::string> before = {};
  std::string statement;  // $ is the row
  bool in_transaction = false;
};

class CutTest : public SystemTest, public testing::WithParamInterface<Exchange> {
 protected:
  void SetUp() override {
    observer().Run("CREATE TABLE deeds (deed text); ALTER TABLE deeds OWNER TO app");
    observer().Run(
        "CREATE PROCEDURE do_deed(deed text) LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO deeds VALUES (deed); COMMIT; END $$");
    // By a function, so that the session does not see it coming.
    observer().Run(
        "CREATE FUNCTION change_columns() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS "
        "$$ BEGIN ALTER TABLE deeds ADD COLUMN other int; "
        "EXCEPTION WHEN duplicate_column THEN ALTER TABLE deeds DROP COLUMN other; END $$");
    Serve(1, 1);
  }
  Observer& observer() override { return postgres_.observer(); }
  std::string dsn() override { return absl::StrCat("postgresql://app@/app?host=", proxy_.host()); }
  std::string control_dsn() override { return postgres_.control_dsn(); }

  static std::string With(const std::string& statement, const std::string& row) {
    const size_t at = statement.find('$');
    return at == std::string::npos ? statement
                                   : absl::StrCat(statement.substr(0, at), row, statement.substr(at + 1));
  }

  // One statement, cut after `bytes` this way, and the truth about it. False once the exchange is shorter.
  bool Cut(Way way, size_t bytes) {
    const std::string row = absl::StrCat(way == Way::kToPostgres ? "to-" : "from-", bytes);
    SCOPED_TRACE(row);
    const Held held = Acquire();
    for (const std::string& sql : GetParam().before) {
      EXPECT_THAT(client().Execute(held.token, With(sql, row)), IsOk()) << sql;
    }
    proxy_.CutAfter(way, bytes);
    const Result result = client().Execute(held.token, With(GetParam().statement, row));
    const bool cut = proxy_.Disarm();
    if (cut) {
      // Until then what it was doing may still come to be.
      EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
    }
    const int rows = observer().Count(absl::StrCat("SELECT count(*) FROM deeds WHERE deed = '", row, "'"));
    if (result.ok()) {
      EXPECT_EQ(rows, GetParam().in_transaction ? 0 : 1);
      ++said_done_;
    } else if (result.reason == "COMMIT_OUTCOME_UNKNOWN") {
      EXPECT_EQ(result.status.error_code(), StatusCode::UNKNOWN);
      EXPECT_FALSE(GetParam().in_transaction) << result;
      EXPECT_LE(rows, 1);
      ++(rows == 0 ? unknown_and_not_done_ : unknown_and_done_);
    } else {
      EXPECT_THAT(result, FailsWith(StatusCode::ABORTED, "CONNECTION_LOST"));
      EXPECT_EQ(rows, 0);
      ++said_not_done_;
    }
    client().Release(held.token);
    return cut;
  }

  void CutAtEveryByte(Way way) {
    constexpr size_t kEndless = 10'000;
    size_t bytes = 0;
    while (bytes < kEndless && !HasFailure() && Cut(way, bytes)) ++bytes;
    EXPECT_LT(bytes, kEndless);
    EXPECT_GT(bytes, 20U) << "an exchange has more bytes than that";
  }

  OwnPostgres postgres_;
  CuttingProxy proxy_{postgres_.socket()};
  int said_done_ = 0, said_not_done_ = 0, unknown_and_done_ = 0, unknown_and_not_done_ = 0;
};

INSTANTIATE_TEST_SUITE_P(
    Each, CutTest,
    testing::Values(
        // The lease's label goes in front of its first statement.
        Exchange{.name = "FirstInsert", .statement = "INSERT INTO deeds VALUES ('$')"},
        Exchange{.name = "Insert", .before = {"SELECT 1"}, .statement = "INSERT INTO deeds VALUES ('$')"},
        Exchange{.name = "InsertInATransaction",
                 .before = {"BEGIN"},
                 .statement = "INSERT INTO deeds VALUES ('$')",
                 .in_transaction = true},
        // Its second run prepares it, its third goes by its name.
        Exchange{.name = "PreparedInsert",
                 .before = {"BEGIN", "INSERT INTO deeds VALUES ('$')", "ROLLBACK"},
                 .statement = "INSERT INTO deeds VALUES ('$')"},
        Exchange{.name = "NamedInsert",
                 .before = {"BEGIN", "INSERT INTO deeds VALUES ('$')", "INSERT INTO deeds VALUES ('$')",
                            "ROLLBACK"},
                 .statement = "INSERT INTO deeds VALUES ('$')"},
        // And is refused there, and sent again.
        Exchange{
            .name = "OutdatedInsert",
            .before = {"BEGIN", "INSERT INTO deeds VALUES ('$') RETURNING *",
                       "INSERT INTO deeds VALUES ('$') RETURNING *", "ROLLBACK", "SELECT change_columns()"},
            .statement = "INSERT INTO deeds VALUES ('$') RETURNING *"},
        Exchange{
            .name = "Commit", .before = {"BEGIN", "INSERT INTO deeds VALUES ('$')"}, .statement = "COMMIT"},
        Exchange{.name = "Call", .before = {"SELECT 1"}, .statement = "CALL do_deed('$')"}),
    [](const auto& exchange) { return std::string(exchange.param.name); });

TEST_P(CutTest, WhatIsSaidIsWhatIsInTheTable) {
  CutAtEveryByte(Way::kToPostgres);
  CutAtEveryByte(Way::kFromPostgres);
  if (GetParam().in_transaction) {
    EXPECT_GT(said_not_done_, 0);
  } else {
    EXPECT_GT(unknown_and_done_, 0) << "cut on the way back";
    EXPECT_GT(unknown_and_not_done_, 0) << "cut on the way there";
  }
  EXPECT_GT(said_done_, 0) << "cut behind the end, or not at all";
}

}  // namespace
}  // namespace pglessor::system
