#include "server/core/names.h"

#include "absl/strings/match.h"

namespace pglessor::core {

bool IsName(absl::string_view text) {
  constexpr absl::string_view kFirst = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr absl::string_view kOther = "abcdefghijklmnopqrstuvwxyz0123456789._-";
  return !text.empty() && text.size() <= 63 && absl::StrContains(kFirst, text[0]) &&
         text.find_first_not_of(kOther) == absl::string_view::npos;
}

bool IsTenant(absl::string_view text) { return IsName(text) && text != kReservedTenant; }

}  // namespace pglessor::core
