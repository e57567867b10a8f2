#include "pglessor/row.h"

#include "absl/strings/str_cat.h"

namespace pglessor {

absl::StatusOr<size_t> Row::Find(absl::string_view name) const {
  for (size_t column = 0; column < columns_->size(); ++column) {
    if ((*columns_)[column].name == name) return column;
  }
  return absl::NotFoundError(absl::StrCat("the result has no column \"", name, "\""));
}

absl::Status Row::NoColumn(size_t column) const {
  return absl::OutOfRangeError(
      absl::StrCat("there is no column ", column, ": the row has ", values_.size(), ", counted from 0"));
}

absl::Status Row::InColumn(size_t column, const absl::Status& why) const {
  const bool named = column < columns_->size();
  return absl::Status(why.code(), absl::StrCat("column ", column, " (", named ? (*columns_)[column].name : "",
                                               "): ", why.message()));
}

absl::Status Row::OtherWidth(size_t asked) const {
  return absl::InvalidArgumentError(
      absl::StrCat(asked, " types were given, and the row has ", values_.size(), " columns"));
}

}  // namespace pglessor
