// A TOML text as plain values that know their line, so that one file alone sees the parser.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace pglessor {

struct TomlValue;
using TomlArray = std::vector<TomlValue>;
using TomlTable = std::map<std::string, TomlValue>;
struct TomlTime {};  // a date or a time of day: no key of ours is one

struct TomlValue {
  uint32_t line = 1;  // where it stands; of a table, its header
  std::variant<TomlTable, TomlArray, std::string, int64_t, double, bool, TomlTime> value;
};

// The root table.
// Fails with: INVALID_ARGUMENT "LINE:COLUMN: what is wrong", which quotes no value: it may be a secret.
absl::StatusOr<TomlValue> ParseToml(absl::string_view text);

}  // namespace pglessor
