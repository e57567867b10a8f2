#include "server/postgres/error_status.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace pglessor::postgres {
namespace {

using absl::StatusCode;
using test::HasReason;
using test::StatusIs;
using testing::HasSubstr;
using testing::Not;

TEST(CodeOfSqlState, IsAsTheContractSays) {
  const struct {
    const char* sqlstate;
    StatusCode code;
  } cases[] = {
      {"42501", StatusCode::kPermissionDenied},    // insufficient_privilege, before its class
      {"28000", StatusCode::kPermissionDenied},    // invalid_authorization_specification
      {"28P01", StatusCode::kPermissionDenied},    // invalid_password
      {"42601", StatusCode::kInvalidArgument},     // syntax_error
      {"42P01", StatusCode::kInvalidArgument},     // undefined_table
      {"42703", StatusCode::kInvalidArgument},     // undefined_column
      {"22012", StatusCode::kInvalidArgument},     // division_by_zero
      {"22P02", StatusCode::kInvalidArgument},     // invalid_text_representation
      {"23505", StatusCode::kAlreadyExists},       // unique_violation, before its class
      {"23503", StatusCode::kFailedPrecondition},  // foreign_key_violation
      {"23514", StatusCode::kFailedPrecondition},  // check_violation
      {"25001", StatusCode::kFailedPrecondition},  // active_sql_transaction
      {"25P02", StatusCode::kFailedPrecondition},  // in_failed_sql_transaction
      {"40001", StatusCode::kAborted},             // serialization_failure
      {"40P01", StatusCode::kAborted},             // deadlock_detected
      {"55P03", StatusCode::kAborted},             // lock_not_available, before its class
      {"55006", StatusCode::kFailedPrecondition},  // object_in_use
      {"53100", StatusCode::kResourceExhausted},   // disk_full
      {"53300", StatusCode::kResourceExhausted},   // too_many_connections
      {"57014", StatusCode::kCancelled},           // query_canceled
      {"0A000", StatusCode::kUnimplemented},       // feature_not_supported
      {"57P01", StatusCode::kInternal},            // admin_shutdown, raised by the statement itself
      {"08006", StatusCode::kInternal},            // connection_failure, of dblink
      {"P0001", StatusCode::kInternal},            // raise_exception
      {"54001", StatusCode::kInternal},            // statement_too_complex
      {"58030", StatusCode::kInternal},            // io_error
      {"XX000", StatusCode::kInternal},            // internal_error
      {"HV000", StatusCode::kInternal},            // fdw_error
      {"", StatusCode::kInternal},                 // libpq's own
  };
  for (const auto& c : cases) EXPECT_EQ(CodeOfSqlState(c.sqlstate, false), c.code) << c.sqlstate;
}

TEST(CodeOfSqlState, IsTheDeadlinesForNothingButACancelThatATimeoutAskedFor) {
  EXPECT_EQ(CodeOfSqlState("57014", true), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(CodeOfSqlState("23505", true), StatusCode::kAlreadyExists);
  EXPECT_EQ(CodeOfSqlState("40001", true), StatusCode::kAborted);
}

// --- openings ------------------------------------------------------------------------------------

// As libpq writes them at verbosity VERBOSE.
std::string Fatal(const std::string& sqlstate, const std::string& text) {
  return "connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  " + sqlstate + ": " + text +
         "\nLOCATION:  auth_failed, auth.c:338\n";
}

TEST(OpenError, OfRefusedCredentialsSaysThatWaitingDoesNotHelp) {
  for (const std::string& message : {
           Fatal("28P01", "password authentication failed for user \"x\""),
           Fatal("28000",
                 "no pg_hba.conf entry for host \"10.0.0.1\", user \"x\", database \"d\", no encryption"),
           Fatal("28000", "role \"nobody\" does not exist"),
           Fatal("3D000", "database \"nowhere\" does not exist"),
       }) {
    const absl::Status status = OpenError(message);
    EXPECT_THAT(status, StatusIs(StatusCode::kFailedPrecondition)) << message;
    EXPECT_THAT(status, HasReason("DATABASE_AUTH_FAILED"));
  }
}

TEST(OpenError, OfEveryWayToHaveTooManyConnectionsIsResourceExhausted) {
  for (const char* text :
       {"sorry, too many clients already", "too many connections for role \"app\"",
        "too many connections for database \"app\"",
        "remaining connection slots are reserved for non-replication superuser connections"}) {
    EXPECT_THAT(OpenError(Fatal("53300", text)), StatusIs(StatusCode::kResourceExhausted)) << text;
  }
  EXPECT_THAT(
      OpenError("connection to server on socket \"/run/postgresql/.s.PGSQL.5432\" failed: FATAL:  53300: "
                "sorry, too many clients already\n"),
      StatusIs(StatusCode::kResourceExhausted));
}

TEST(OpenError, OfAnythingElseIsUnavailable) {
  for (const std::string& message : {
           Fatal("57P03", "the database system is starting up"),
           Fatal("57P03", "the database system is shutting down"),
           Fatal("XX000", "could not open file"),
           std::string("connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n"
                       "\tIs the server running on that host and accepting TCP/IP connections?\n"),
           std::string("could not translate host name \"nowhere\" to address: Name or service not known\n"),
           std::string("server closed the connection unexpectedly\n"),
           std::string("FATAL:  28P0"),  // cut off
           std::string("FATAL:  28p01: lower case is no SQLSTATE"),
           std::string(),
       }) {
    EXPECT_THAT(OpenError(message), StatusIs(StatusCode::kUnavailable)) << message;
  }
}

TEST(OpenError, JudgesByTheServersSqlStateAndNotByNamesInItsText) {
  EXPECT_THAT(OpenError(Fatal("53300", "too many connections for role \"x:  28P01: y\"")),
              StatusIs(StatusCode::kResourceExhausted));
  EXPECT_THAT(OpenError(Fatal("57P03", "the database system is starting up, says 28P01: nobody")),
              StatusIs(StatusCode::kUnavailable));
}

TEST(OpenError, ReadsTheLanguagesThatPostgresSpeaks) {
  EXPECT_THAT(OpenError("Verbindung zum Server auf \xc2\xbb"
                        "127.0.0.1\xc2\xab, Port 5432 fehlgeschlagen: FATAL:  28P01: "
                        "Passwort-Authentifizierung f\xc3\xbcr Benutzer \xc2\xbbx\xc2\xab fehlgeschlagen\n"),
              HasReason("DATABASE_AUTH_FAILED"));
}

TEST(OpenError, KeepsPostgresWordsAndDropsItsSourceLocation) {
  const std::string text(OpenError(Fatal("57P03", "the database system is starting up")).message());
  EXPECT_THAT(text, HasSubstr("the database system is starting up"));
  EXPECT_THAT(text, Not(HasSubstr("LOCATION")));
  EXPECT_THAT(text, Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace pglessor::postgres
