#include "server/postgres/error_status.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "server/core/error.h"

namespace pglessor::postgres {
namespace {

struct Row {
  absl::string_view prefix;  // of the SQLSTATE
  absl::StatusCode code;
};

// The first that fits, so a single code stands before its class.
constexpr Row kTable[] = {
    {"42501", absl::StatusCode::kPermissionDenied},  // insufficient_privilege
    {"23505", absl::StatusCode::kAlreadyExists},     // unique_violation
    {"55P03", absl::StatusCode::kAborted},           // lock_not_available
    {"57014", absl::StatusCode::kCancelled},         // query_canceled
    {"22", absl::StatusCode::kInvalidArgument},      // data exception
    {"42", absl::StatusCode::kInvalidArgument},      // syntax error or access rule violation
    {"28", absl::StatusCode::kPermissionDenied},     // invalid authorization specification
    {"23", absl::StatusCode::kFailedPrecondition},   // integrity constraint violation
    {"25", absl::StatusCode::kFailedPrecondition},   // invalid transaction state
    {"55", absl::StatusCode::kFailedPrecondition},   // object not in prerequisite state
    {"40", absl::StatusCode::kAborted},              // transaction rollback
    {"53", absl::StatusCode::kResourceExhausted},    // insufficient resources
    {"0A", absl::StatusCode::kUnimplemented},        // feature not supported
};

absl::string_view FieldOf(const PGresult& result, int field) {
  const char* const value = PQresultErrorField(&result, field);
  return value == nullptr ? absl::string_view() : absl::string_view(value);
}

bool IsSqlState(absl::string_view text) {
  return text.size() == 5 && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
                  absl::ascii_isupper(static_cast<unsigned char>(c));
         });
}

// From "…FATAL:  28P01: password authentication failed…". Empty where the server said nothing.
absl::string_view SqlStateIn(absl::string_view message) {
  for (size_t at = message.find(":  "); at != absl::string_view::npos; at = message.find(":  ", at + 1)) {
    const absl::string_view code = message.substr(at + 3, 5);
    if (IsSqlState(code) && message.substr(at + 8, 1) == ":") return code;
  }
  return {};
}

}  // namespace

absl::StatusCode CodeOfSqlState(absl::string_view sqlstate, bool timed_out) {
  if (timed_out && sqlstate == kQueryCanceled) return absl::StatusCode::kDeadlineExceeded;
  for (const Row& row : kTable) {
    if (absl::StartsWith(sqlstate, row.prefix)) return row.code;
  }
  return absl::StatusCode::kInternal;
}

absl::Status SqlError(const PGresult& error, bool timed_out) {
  const absl::string_view sqlstate = FieldOf(error, PG_DIAG_SQLSTATE);
  std::vector<std::pair<std::string, std::string>> metadata = {{"sqlstate", std::string(sqlstate)}};
  const auto add = [&](const char* key, int field) {
    const absl::string_view value = FieldOf(error, field);
    if (!value.empty()) metadata.emplace_back(key, value);
  };
  add("severity", PG_DIAG_SEVERITY_NONLOCALIZED);
  add("position", PG_DIAG_STATEMENT_POSITION);
  add("constraint", PG_DIAG_CONSTRAINT_NAME);
  add("hint", PG_DIAG_MESSAGE_HINT);
  return core::MakeError(
      CodeOfSqlState(sqlstate, timed_out),
      absl::StrCat(timed_out && sqlstate == kQueryCanceled ? "statement_timeout ran out: " : "",
                   FieldOf(error, PG_DIAG_MESSAGE_PRIMARY), " (SQLSTATE ", sqlstate, ")"),
      {.reason = core::reason::kSqlError, .metadata = std::move(metadata)});
}

bool EndsConnection(const PGresult& error) {
  const absl::string_view severity = FieldOf(error, PG_DIAG_SEVERITY_NONLOCALIZED);
  return severity == "FATAL" || severity == "PANIC" || IsOfLibpq(error);
}

bool IsOfLibpq(const PGresult& message) {
  const ExecStatusType status = PQresultStatus(&message);
  const bool says =
      status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE || status == PGRES_NONFATAL_ERROR;
  return says && FieldOf(message, PG_DIAG_SQLSTATE).empty();
}

NameFault NameFaultOf(const PGresult& error) {
  const absl::string_view sqlstate = FieldOf(error, PG_DIAG_SQLSTATE);
  const absl::string_view routine = FieldOf(error, PG_DIAG_SOURCE_FUNCTION);
  const bool outdated = sqlstate == "0A000" && routine == "RevalidateCachedQuery";
  if (FieldOf(error, PG_DIAG_CONTEXT).empty()) {
    if (sqlstate == "26000" && routine == "FetchPreparedStatement") return NameFault::kUnknown;
    if (sqlstate == "42P05" && routine == "StorePreparedStatement") return NameFault::kUnknown;
    if (outdated) return NameFault::kOutdated;
  }
  // Outdated with a context, it may be a function's own, or ours where PostgreSQL shows the parameters of
  // what fails (log_parameter_max_length_on_error).
  const bool of_types = absl::StartsWith(sqlstate, "22") || absl::StartsWith(sqlstate, "42");
  return outdated || of_types ? NameFault::kDoubtful : NameFault::kNone;
}

absl::Status OpenError(absl::string_view message) {
  const absl::string_view sqlstate = SqlStateIn(message);
  // The first line says it; the rest is PostgreSQL's source location.
  const std::string text(absl::StripAsciiWhitespace(message.substr(0, message.find('\n'))));
  if (absl::StartsWith(sqlstate, "28") || sqlstate == "3D000") {
    return core::MakeError(absl::StatusCode::kFailedPrecondition,
                           absl::StrCat("the database refuses us: ", text),
                           {.reason = core::reason::kDatabaseAuthFailed});
  }
  if (absl::StartsWith(sqlstate, "53")) return absl::ResourceExhaustedError(text);
  return absl::UnavailableError(text);
}

}  // namespace pglessor::postgres
