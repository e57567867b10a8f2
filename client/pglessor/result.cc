#include "pglessor/result.h"

#include "absl/strings/str_cat.h"

namespace pglessor {

absl::Status Result::NotOneValue() const {
  return absl::InvalidArgumentError(absl::StrCat("the result has ", rows_.size(), " rows and ",
                                                 summary_.columns.size(), " columns, not one value"));
}

}  // namespace pglessor
