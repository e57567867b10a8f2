// What a failed call says beyond its code and message.
//
// Every error that the server makes carries a reason, for programs, and facts. They travel as payloads of the
// absl::Status under the type URLs of google.rpc (ErrorInfo, RetryInfo, BadRequest, QuotaFailure), where a
// program that has Google's messages can read them too. The reasons are listed in the guide.
//
// Threads: any; pure. Cost: parses the payload at each call.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace pglessor {

// For instance "LEASE_EXPIRED", "POOL_EXHAUSTED" or "SQL_ERROR". Empty where there is none: OK, or an error
// of the connection to the server.
std::string ErrorReason(const absl::Status& status);

// The facts that come with the reason; for SQL_ERROR `sqlstate`, `severity`, `position`, `constraint`,
// `hint`, as they apply.
std::map<std::string, std::string> ErrorMetadata(const absl::Status& status);

// The five characters of PostgreSQL's error code. Empty where it is not an SQL_ERROR.
std::string SqlState(const absl::Status& status);

// How long to wait at least before trying again; nothing where the server did not say.
std::optional<std::chrono::nanoseconds> RetryDelay(const absl::Status& status);

// What is wrong with the request (FIELD_INVALID), or which limits were hit: `subject` is the field or the
// limit's owner, `description` is for people.
struct Violation {
  std::string subject;
  std::string description;
  friend bool operator==(const Violation&, const Violation&) = default;
};
std::vector<Violation> FieldViolations(const absl::Status& status);
std::vector<Violation> QuotaViolations(const absl::Status& status);

}  // namespace pglessor
