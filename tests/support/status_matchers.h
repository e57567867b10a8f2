// What a test expects of an absl::Status or StatusOr, in the contract's words.
#pragma once

#include <ostream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"

#include "server/core/error.h"

namespace pglessor::test {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& value) {
  return value.status();
}

// The reason that callers switch on; empty where there is none.
inline std::string ReasonOf(const absl::Status& status) {
  const auto detail = core::DetailOf(status);
  return detail ? detail->reason : std::string();
}

// The value of that key in the error's metadata; empty where there is none.
inline std::string MetadataOf(const absl::Status& status, const std::string& key) {
  const auto detail = core::DetailOf(status);
  if (!detail) return {};
  for (const auto& [name, value] : detail->metadata) {
    if (name == key) return value;
  }
  return {};
}

MATCHER(IsOk, negation ? "is an error" : "is OK") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).ok();
}

MATCHER_P(StatusIs, code, absl::StatusCodeToString(code)) {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code;
}

MATCHER_P(HasReason, reason, std::string("has the reason ") + reason) {
  *result_listener << StatusOf(arg).ToString() << ", reason \"" << ReasonOf(StatusOf(arg)) << "\"";
  return ReasonOf(StatusOf(arg)) == reason;
}

}  // namespace pglessor::test
