#include "server/core/statement_outcome.h"

#include <optional>
#include <string>

#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using test::HasReason;
using test::MetadataOf;
using test::StatusIs;
using How = StatementEnd::How;

// Every statement of PostgreSQL 15 and 17 by its first keyword, less those that may end a
// transaction.
constexpr const char* kStays[] = {
    "ABORT",   "ALTER",    "ANALYZE",    "BEGIN",    "CHECKPOINT", "CLOSE",   "CLUSTER", "COMMENT",
    "COPY",    "CREATE",   "DEALLOCATE", "DECLARE",  "DELETE",     "DISCARD", "DROP",    "EXECUTE",
    "EXPLAIN", "FETCH",    "GRANT",      "IMPORT",   "INSERT",     "LISTEN",  "LOAD",    "LOCK",
    "MERGE",   "MOVE",     "NOTIFY",     "REASSIGN", "REFRESH",    "REINDEX", "RELEASE", "RESET",
    "REVOKE",  "ROLLBACK", "SAVEPOINT",  "SECURITY", "SELECT",     "SET",     "SHOW",    "START",
    "TABLE",   "TRUNCATE", "UNLISTEN",   "UPDATE",   "VACUUM",     "VALUES",  "WITH"};

TEST(StaysInTransaction, KnowsEveryStatementThatCannotEndOne) {
  for (const std::string keyword : kStays) EXPECT_TRUE(StaysInTransaction(keyword + " x")) << keyword;
}

TEST(StaysInTransaction, TrustsNoneThatMayEndOne) {
  for (const std::string keyword : {"COMMIT", "END", "PREPARE", "CALL", "DO"}) {
    EXPECT_FALSE(StaysInTransaction(keyword)) << keyword;
    EXPECT_FALSE(StaysInTransaction(keyword + " x")) << keyword;
    EXPECT_FALSE(StaysInTransaction(keyword + ";")) << keyword;
  }
  EXPECT_FALSE(StaysInTransaction("PREPARE TRANSACTION 'x'"));
  EXPECT_FALSE(StaysInTransaction("DO $$ BEGIN COMMIT; END $$"));
}

TEST(StaysInTransaction, TrustsNothingThatItDoesNotRecognise) {
  for (const std::string sql : {"",
                                " ",
                                ";",
                                ";SELECT 1",
                                "SELEC 1",
                                "SELECTED",
                                "S",
                                "XSELECT 1",
                                "1",
                                "\"SELECT\"",
                                "'SELECT'",
                                "é",
                                "GRAPH_TABLE",
                                "--",
                                "-- SELECT 1",
                                "/* SELECT 1 */",
                                "/*",
                                "/* /* */ SELECT 1",
                                "-SELECT 1",
                                "/SELECT 1",
                                "*/ SELECT 1",
                                "/*/ SELECT 1",
                                ")SELECT 1"}) {
    EXPECT_FALSE(StaysInTransaction(sql)) << sql;
  }
}

TEST(StaysInTransaction, TakesEitherCase) {
  EXPECT_TRUE(StaysInTransaction("select 1"));
  EXPECT_TRUE(StaysInTransaction("SeLeCt 1"));
  EXPECT_FALSE(StaysInTransaction("commit"));
  EXPECT_FALSE(StaysInTransaction("cOmMiT"));
}

TEST(StaysInTransaction, LooksBehindBlanksAndParentheses) {
  EXPECT_TRUE(StaysInTransaction(" \t\r\n\f\vSELECT 1"));
  EXPECT_TRUE(StaysInTransaction("((SELECT 1) UNION (SELECT 2))"));
  EXPECT_TRUE(StaysInTransaction("( ( -- why\nVALUES (1)))"));
  EXPECT_TRUE(StaysInTransaction("SELECT(1)"));
  EXPECT_TRUE(StaysInTransaction("SELECT/**/1"));
  EXPECT_FALSE(StaysInTransaction(" \nCOMMIT"));
}

TEST(StaysInTransaction, LooksBehindComments) {
  EXPECT_TRUE(StaysInTransaction("-- COMMIT\nSELECT 1"));
  EXPECT_TRUE(StaysInTransaction("-- COMMIT\rSELECT 1"));
  EXPECT_TRUE(StaysInTransaction("--\n--\nSELECT 1"));
  EXPECT_TRUE(StaysInTransaction("/* COMMIT */SELECT 1"));
  EXPECT_TRUE(StaysInTransaction("/**//***/ /* -- */SELECT 1"));
  EXPECT_TRUE(StaysInTransaction("-- /*\nSELECT 1"));
  EXPECT_FALSE(StaysInTransaction("-- SELECT\nCOMMIT"));
  EXPECT_FALSE(StaysInTransaction("/* SELECT */COMMIT"));
}

TEST(StaysInTransaction, KnowsThatCommentsNest) {
  EXPECT_TRUE(StaysInTransaction("/* a /* COMMIT */ b */ SELECT 1"));
  EXPECT_FALSE(StaysInTransaction("/* a /* b */ SELECT */ COMMIT"));
  EXPECT_FALSE(StaysInTransaction("/* /* /* */ */ SELECT */ COMMIT"));
}

struct Case {
  const char* what;
  How how;
  bool sent;
  bool in_transaction;
  bool stays;
  std::optional<EndReason> lease_end;
  absl::StatusCode code;
  const char* reason;
};

TEST(OutcomeOfUnanswered, NeverSaysNotExecutedOfWhatMayHaveCommitted) {
  constexpr auto kUnknown = absl::StatusCode::kUnknown;
  constexpr auto kAborted = absl::StatusCode::kAborted;
  constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;
  const auto expired = EndReason::kExpired;
  const auto none = std::nullopt;
  const Case cases[] = {
      {"lost, not sent", How::kConnectionLost, false, false, false, none, kAborted, "CONNECTION_LOST"},
      {"lost, not sent, in tx", How::kConnectionLost, false, true, true, none, kAborted, "CONNECTION_LOST"},
      {"lost, COMMIT not sent", How::kConnectionLost, false, true, false, none, kAborted, "CONNECTION_LOST"},
      {"lost in tx", How::kConnectionLost, true, true, true, none, kAborted, "CONNECTION_LOST"},
      {"lost, COMMIT", How::kConnectionLost, true, true, false, none, kUnknown, "COMMIT_OUTCOME_UNKNOWN"},
      {"lost, autocommit", How::kConnectionLost, true, false, true, none, kUnknown, "COMMIT_OUTCOME_UNKNOWN"},
      {"lost, autocommit CALL", How::kConnectionLost, true, false, false, none, kUnknown,
       "COMMIT_OUTCOME_UNKNOWN"},
      {"fenced, not sent", How::kFenced, false, false, false, expired, kFailed, "LEASE_EXPIRED"},
      {"fenced, COMMIT not sent", How::kFenced, false, true, false, expired, kFailed, "LEASE_EXPIRED"},
      {"fenced in tx", How::kFenced, true, true, true, EndReason::kRevoked, kFailed, "LEASE_REVOKED"},
      {"fenced, COMMIT", How::kFenced, true, true, false, expired, kUnknown, "COMMIT_OUTCOME_UNKNOWN"},
      {"fenced, autocommit", How::kFenced, true, false, true, expired, kUnknown, "COMMIT_OUTCOME_UNKNOWN"},
      {"fenced, autocommit DO", How::kFenced, true, false, false, expired, kUnknown,
       "COMMIT_OUTCOME_UNKNOWN"},
  };
  for (const Case& c : cases) {
    StatementEnd end;
    end.how = c.how;
    end.sent = c.sent;
    end.was_in_transaction = c.in_transaction;
    const absl::Status status = OutcomeOfUnanswered(end, c.stays, c.lease_end);
    EXPECT_THAT(status, StatusIs(c.code)) << c.what;
    EXPECT_THAT(status, HasReason(c.reason)) << c.what;
  }
}

TEST(OutcomeOfUnanswered, SaysWhyTheLeaseEnded) {
  StatementEnd end;
  end.how = How::kFenced;
  end.sent = true;
  EXPECT_EQ(MetadataOf(OutcomeOfUnanswered(end, true, EndReason::kExpired), "lease_reason"), "LEASE_EXPIRED");
  EXPECT_EQ(MetadataOf(OutcomeOfUnanswered(end, true, EndReason::kReleased), "lease_reason"),
            "LEASE_RELEASED");
  end.how = How::kConnectionLost;
  EXPECT_EQ(MetadataOf(OutcomeOfUnanswered(end, true, std::nullopt), "lease_reason"), "CONNECTION_LOST");
}

}  // namespace
}  // namespace pglessor::core
