#include "server/toml_document.h"

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace pglessor {
namespace {

TomlValue ValueOf(const toml::node& node) {
  TomlValue value{.line = node.source().begin.line, .value = TomlTime{}};
  if (const auto* const table = node.as_table()) {
    TomlTable entries;
    for (const auto& [key, entry] : *table) entries.emplace(std::string(key.str()), ValueOf(entry));
    value.value = std::move(entries);
  } else if (const auto* const array = node.as_array()) {
    TomlArray entries;
    for (const toml::node& entry : *array) entries.push_back(ValueOf(entry));
    value.value = std::move(entries);
  } else if (const auto* const text = node.as_string()) {
    value.value = text->get();
  } else if (const auto* const integer = node.as_integer()) {
    value.value = integer->get();
  } else if (const auto* const number = node.as_floating_point()) {
    value.value = number->get();
  } else if (const auto* const flag = node.as_boolean()) {
    value.value = flag->get();
  }
  return value;
}

// The parser quotes keys, single characters, and numbers that are too large, which may be a password of
// digits.
std::string WithoutNumbers(std::string_view description) {
  return std::string(description.substr(0, description.find(": '")));
}

}  // namespace

absl::StatusOr<TomlValue> ParseToml(absl::string_view text) {
  const toml::parse_result parsed = toml::parse(std::string_view(text.data(), text.size()));
  if (!parsed) {
    const toml::source_position at = parsed.error().source().begin;
    return absl::InvalidArgumentError(
        absl::StrCat(at.line, ":", at.column, ": ", WithoutNumbers(parsed.error().description())));
  }
  TomlValue root = ValueOf(parsed.table());
  root.line = 1;
  return root;
}

}  // namespace pglessor
