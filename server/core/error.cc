#include "server/core/error.h"

#include <cstdint>
#include <cstdlib>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "server/core/check.h"

namespace pglessor::core {
namespace {

// A payload's key must be unique among all libraries in the process.
constexpr char kPayload[] = "pglessor/error-detail";

// Texts one after another, each as "<length>:<bytes>". Only this file writes and reads it.
void Put(std::string& out, absl::string_view text) { absl::StrAppend(&out, text.size(), ":", text); }

std::string Take(absl::string_view& in) {
  const size_t colon = in.find(':');
  size_t length = 0;
  PGLESSOR_CHECK(colon != absl::string_view::npos && absl::SimpleAtoi(in.substr(0, colon), &length) &&
                     length <= in.size() - colon - 1,
                 "an error's payload is written by Put alone");
  std::string text(in.substr(colon + 1, length));
  in.remove_prefix(colon + 1 + length);
  return text;
}

void PutPairs(std::string& out, const std::vector<Violation>& violations) {
  Put(out, absl::StrCat(violations.size()));
  for (const Violation& violation : violations) {
    Put(out, violation.subject);
    Put(out, violation.description);
  }
}

size_t TakeCount(absl::string_view& in) {
  size_t count = 0;
  PGLESSOR_CHECK(absl::SimpleAtoi(Take(in), &count), "an error's payload is written by Put alone");
  return count;
}

std::vector<Violation> TakeViolations(absl::string_view& in) {
  std::vector<Violation> violations(TakeCount(in));
  for (Violation& violation : violations) {
    violation.subject = Take(in);
    violation.description = Take(in);
  }
  return violations;
}

}  // namespace

absl::Status MakeError(absl::StatusCode code, absl::string_view message, const ErrorDetail& detail) {
  std::string payload;
  Put(payload, detail.reason);
  Put(payload, absl::StrCat(detail.metadata.size()));
  for (const auto& [key, value] : detail.metadata) {
    Put(payload, key);
    Put(payload, value);
  }
  Put(payload, detail.retry_after ? absl::StrCat(detail.retry_after->count()) : "");
  PutPairs(payload, detail.fields);
  PutPairs(payload, detail.quotas);
  absl::Status status(code, message);
  status.SetPayload(kPayload, absl::Cord(payload));
  return status;
}

absl::Status FieldInvalid(absl::string_view field, absl::string_view expected) {
  return FieldsInvalid({{std::string(field), std::string(expected)}});
}

absl::Status FieldsInvalid(std::vector<Violation> fields) {
  std::string message;
  for (const auto& [field, expected] : fields) {
    absl::StrAppend(&message, message.empty() ? "" : "; ", field, ": ", expected);
  }
  ErrorDetail detail{.reason = reason::kFieldInvalid};
  if (fields.size() == 1) detail.metadata = {{"field", fields[0].subject}};
  detail.fields = std::move(fields);
  return MakeError(absl::StatusCode::kInvalidArgument, message, detail);
}

std::optional<ErrorDetail> DetailOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  if (!payload) return std::nullopt;
  const std::string text(*payload);
  absl::string_view in = text;
  ErrorDetail detail;
  detail.reason = Take(in);
  detail.metadata.resize(TakeCount(in));
  for (auto& [key, value] : detail.metadata) {
    key = Take(in);
    value = Take(in);
  }
  int64_t nanoseconds = 0;
  if (absl::SimpleAtoi(Take(in), &nanoseconds)) detail.retry_after = Duration(nanoseconds);
  detail.fields = TakeViolations(in);
  detail.quotas = TakeViolations(in);
  return detail;
}

}  // namespace pglessor::core
