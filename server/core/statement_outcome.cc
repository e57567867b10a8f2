#include "server/core/statement_outcome.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "server/core/error.h"

namespace pglessor::core {
namespace {

// PostgreSQL's statements, less COMMIT, END, PREPARE, CALL and DO. ROLLBACK and ABORT stay: unanswered,
// they have done what the connection's end does anyway. EXECUTE runs what a PREPARE has named, and that
// is never a transaction command; FETCH and the like only read. Sorted, for the search below.
constexpr std::array<absl::string_view, 47> kStays = {
    "ABORT",   "ALTER",    "ANALYZE",    "BEGIN",    "CHECKPOINT", "CLOSE",   "CLUSTER", "COMMENT",
    "COPY",    "CREATE",   "DEALLOCATE", "DECLARE",  "DELETE",     "DISCARD", "DROP",    "EXECUTE",
    "EXPLAIN", "FETCH",    "GRANT",      "IMPORT",   "INSERT",     "LISTEN",  "LOAD",    "LOCK",
    "MERGE",   "MOVE",     "NOTIFY",     "REASSIGN", "REFRESH",    "REINDEX", "RELEASE", "RESET",
    "REVOKE",  "ROLLBACK", "SAVEPOINT",  "SECURITY", "SELECT",     "SET",     "SHOW",    "START",
    "TABLE",   "TRUNCATE", "UNLISTEN",   "UPDATE",   "VACUUM",     "VALUES",  "WITH",
};

// Drops blanks, "-- …" and "/* … */" (which nest in PostgreSQL), and opening parentheses.
absl::string_view SkipToKeyword(absl::string_view sql) {
  while (!sql.empty()) {
    if (absl::ascii_isspace(static_cast<unsigned char>(sql[0])) || sql[0] == '(') {
      sql.remove_prefix(1);
    } else if (absl::StartsWith(sql, "--")) {
      const size_t end = sql.find_first_of("\r\n");
      sql.remove_prefix(std::min(end, sql.size()));
    } else if (absl::StartsWith(sql, "/*")) {
      int depth = 0;
      do {
        if (absl::StartsWith(sql, "/*")) {
          ++depth;
          sql.remove_prefix(2);
        } else if (absl::StartsWith(sql, "*/")) {
          --depth;
          sql.remove_prefix(2);
        } else {
          sql.remove_prefix(1);
        }
      } while (depth > 0 && !sql.empty());
    } else {
      break;
    }
  }
  return sql;
}

}  // namespace

std::string FirstKeyword(absl::string_view sql) {
  sql = SkipToKeyword(sql);
  const auto* end = std::find_if_not(
      sql.begin(), sql.end(), [](char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); });
  return absl::AsciiStrToUpper(sql.substr(0, static_cast<size_t>(end - sql.begin())));
}

bool StaysInTransaction(absl::string_view sql) {
  return std::binary_search(kStays.begin(), kStays.end(), FirstKeyword(sql));
}

absl::Status OutcomeOfUnanswered(const StatementEnd& end, bool stays_in_transaction,
                                 std::optional<EndReason> lease_end) {
  const bool fenced = end.how == StatementEnd::How::kFenced;
  if (end.sent && !(end.was_in_transaction && stays_in_transaction)) {
    return MakeError(
        absl::StatusCode::kUnknown,
        "the statement was sent and its answer never came: it may or may not have taken effect; look "
        "before you repeat it",
        {.reason = reason::kCommitOutcomeUnknown,
         .metadata = {{"lease_reason", EndReasonCode(lease_end.value_or(EndReason::kConnectionLost))}}});
  }
  if (fenced && lease_end) return EndedError(*lease_end);
  return MakeError(absl::StatusCode::kAborted,
                   end.sent ? "the connection died and the open transaction was rolled back; begin again on "
                              "a new lease"
                            : "the connection died before the statement was sent; repeat it on a new lease",
                   {.reason = reason::kConnectionLost});
}

absl::Status AnswerWithheld(const absl::Status& why, Ran ran) {
  ErrorDetail detail = *DetailOf(why);
  const bool executed = ran == Ran::kToItsEnd;
  detail.metadata.emplace_back("executed", executed ? "true" : "false");
  return MakeError(
      why.code(),
      absl::StrCat(
          why.message(),
          executed ? "; this statement has been executed all the same: do not repeat it blindly" : ""),
      detail);
}

}  // namespace pglessor::core
