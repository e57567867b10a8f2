#include "server/core/ids.h"

#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace pglessor::core {

std::string FormatConnectionId(ConnectionIndex index, WallTime created) {
  return absl::StrCat("conn_", index.value, "_", created.time_since_epoch().count());
}

std::string FormatLeaseId(const LeaseId& id) {
  return absl::StrCat(id.replica.name, "-", absl::Hex(id.replica.boot, absl::kZeroPad16), "-",
                      id.counter.value);
}

std::optional<LeaseId> ParseLeaseId(absl::string_view text) {
  // From the right, since a replica's name may itself have dashes.
  const size_t second = text.rfind('-');
  if (second == absl::string_view::npos || second == 0) return std::nullopt;
  const size_t first = text.rfind('-', second - 1);
  if (first == absl::string_view::npos || first == 0) return std::nullopt;
  LeaseId id;
  id.replica.name = std::string(text.substr(0, first));
  if (!absl::SimpleHexAtoi(text.substr(first + 1, second - first - 1), &id.replica.boot) ||
      !absl::SimpleAtoi(text.substr(second + 1), &id.counter.value)) {
    return std::nullopt;
  }
  // Whatever else the number parsers accept (signs, blanks, leading zeros) is not ours.
  if (FormatLeaseId(id) != text) return std::nullopt;
  return id;
}

}  // namespace pglessor::core
