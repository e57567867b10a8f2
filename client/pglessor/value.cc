#include "pglessor/value.h"

#include "absl/strings/str_cat.h"

namespace pglessor {

absl::Status Value::IsNot(absl::string_view wanted) const {
  constexpr const char* kNames[] = {"NULL", "a boolean", "an integer", "a double", "text", "bytes"};
  static_assert(std::variant_size_v<Kind> == std::size(kNames));
  return absl::InvalidArgumentError(absl::StrCat("the value is ", kNames[kind_.index()], ", not ", wanted,
                                                 is_null() ? "; a std::optional takes NULL" : ""));
}

absl::Status Value::DoesNotFit(int64_t value) {
  return absl::OutOfRangeError(absl::StrCat("the value ", value, " does not fit the asked integer type"));
}

}  // namespace pglessor
