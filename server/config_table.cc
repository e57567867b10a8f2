#include "server/config_table.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "server/config.h"
#include "server/core/names.h"

namespace pglessor {
namespace {

constexpr size_t kMostQuoted = 60;
constexpr size_t kMostSecretBytes = 64 << 10;

std::string Shown(core::Duration time) { return absl::FormatDuration(absl::FromChrono(time)); }

std::string Shown(const TomlValue& value) {
  struct Visitor {
    std::string operator()(const TomlTable&) const { return "a table"; }
    std::string operator()(const TomlArray&) const { return "an array"; }
    std::string operator()(const std::string& text) const { return Quoted(text); }
    std::string operator()(int64_t number) const { return absl::StrCat(number); }
    std::string operator()(double number) const { return absl::StrCat(number); }
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
    std::string operator()(const TomlTime&) const { return "a date or a time of day"; }
  };
  return std::visit(Visitor{}, value.value);
}

// How many letters must be changed, left out or put in to make the one the other.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, changed}));
    }
  }
  return row[b.size()];
}

// Empty if nothing is close.
std::string Closest(absl::string_view key, const std::set<std::string>& known) {
  std::string closest;
  size_t least = key.size() / 3 + 2;
  for (const std::string& candidate : known) {
    const size_t distance = Distance(key, candidate);
    if (distance >= least) continue;
    least = distance;
    closest = candidate;
  }
  return closest;
}

}  // namespace

std::string Quoted(absl::string_view text) {
  if (absl::StrContains(text, "://") || absl::StrContains(text, "@") || absl::StrContains(text, "password")) {
    return "what may be a DSN";
  }
  const bool cut = text.size() > kMostQuoted;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text.substr(0, kMostQuoted)), cut ? "…" : "", "\"");
}

void FileFaults::Add(uint32_t line, absl::string_view key, absl::string_view what) {
  faults_.emplace_back(line, absl::StrCat(file_, ":", line, ": ", key, ": ", what));
}

std::vector<std::string> FileFaults::Lines() const {
  auto sorted = faults_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> lines;
  for (auto& [line, text] : sorted) lines.push_back(std::move(text));
  return lines;
}

ConfigTable::ConfigTable(const TomlValue& table, std::string path, FileFaults& faults)
    : table_(&table), path_(std::move(path)), faults_(&faults) {}

bool ConfigTable::Says(absl::string_view key) const {
  return std::get<TomlTable>(table_->value).count(std::string(key)) > 0;
}

uint32_t ConfigTable::LineOf(absl::string_view key) const {
  const auto& table = std::get<TomlTable>(table_->value);
  const auto entry = table.find(std::string(key));
  return entry == table.end() ? table_->line : entry->second.line;
}

void ConfigTable::Fault(absl::string_view key, absl::string_view what) {
  faults_->Add(LineOf(key), absl::StrCat(path_, path_.empty() || key.empty() ? "" : ".", key), what);
}

void ConfigTable::Unexpected(absl::string_view key, absl::string_view expected, const TomlValue& got) {
  Fault(key, absl::StrCat("expected ", expected, ", got ", Shown(got)));
}

const TomlValue* ConfigTable::Take(const std::string& key) {
  known_.insert(key);
  const auto& table = std::get<TomlTable>(table_->value);
  const auto entry = table.find(key);
  return entry == table.end() ? nullptr : &entry->second;
}

const std::string* ConfigTable::TakeText(const char* key, absl::string_view expected) {
  const TomlValue* const value = Take(key);
  if (value == nullptr) return nullptr;
  const auto* const text = std::get_if<std::string>(&value->value);
  if (text == nullptr) Unexpected(key, expected, *value);
  return text;
}

void ConfigTable::Flag(const char* key, bool& target) {
  const TomlValue* const value = Take(key);
  if (value == nullptr) return;
  if (const auto* const flag = std::get_if<bool>(&value->value)) {
    target = *flag;
  } else {
    Unexpected(key, "true or false", *value);
  }
}

void ConfigTable::Text(const char* key, std::string& target) {
  if (const std::string* const text = TakeText(key, "a text")) target = *text;
}

void ConfigTable::Texts(const char* key, std::vector<std::string>& target) {
  constexpr char kExpected[] = "an array of texts";
  const TomlValue* const value = Take(key);
  if (value == nullptr) return;
  const auto* const array = std::get_if<TomlArray>(&value->value);
  if (array == nullptr) {
    Unexpected(key, kExpected, *value);
    return;
  }
  std::vector<std::string> texts;
  for (const TomlValue& entry : *array) {
    const auto* const text = std::get_if<std::string>(&entry.value);
    if (text == nullptr) {
      Unexpected(key, kExpected, entry);
      return;
    }
    texts.push_back(*text);
  }
  target = std::move(texts);
}

void ConfigTable::Number(const char* key, Bounds<int64_t> bounds, absl::FunctionRef<void(int64_t)> take) {
  const TomlValue* const value = Take(key);
  if (value == nullptr) return;
  const auto* const number = std::get_if<int64_t>(&value->value);
  if (number == nullptr || *number < bounds.least || *number > bounds.most) {
    Unexpected(key, absl::StrCat("a whole number from ", bounds.least, " to ", bounds.most), *value);
  } else {
    take(*number);
  }
}

void ConfigTable::Number(const char* key, Bounds<double> bounds, double& target) {
  const TomlValue* const value = Take(key);
  if (value == nullptr) return;
  const auto* const whole = std::get_if<int64_t>(&value->value);
  const auto* const fraction = std::get_if<double>(&value->value);
  const double number = whole != nullptr      ? static_cast<double>(*whole)
                        : fraction != nullptr ? *fraction
                                              : bounds.least - 1;
  if (number >= bounds.least && number <= bounds.most) {
    target = number;
  } else {
    Unexpected(key, absl::StrCat("a number from ", bounds.least, " to ", bounds.most), *value);
  }
}

void ConfigTable::Time(const char* key, Bounds<core::Duration> bounds, core::Duration& target) {
  const std::string expected = absl::StrCat(R"(a time such as "30s", "500ms" or "2m", from )",
                                            Shown(bounds.least), " to ", Shown(bounds.most));
  const std::string* const text = TakeText(key, expected);
  if (text == nullptr) return;
  const auto time = ParseDuration(*text);
  if (time && *time >= bounds.least && *time <= bounds.most) {
    target = *time;
  } else {
    Fault(key, absl::StrCat("expected ", expected, ", got ", Quoted(*text)));
  }
}

bool ConfigTable::Secret(const std::string& key, std::string& target) {
  const std::string file_key = key + "_file";
  const TomlValue* const value = Take(key);
  const TomlValue* const file = Take(file_key);
  if (value != nullptr && file != nullptr) {
    Fault(file_key, absl::StrCat("expected either ", key, " or ", file_key, ", got both"));
    return true;
  }
  if (value != nullptr) {
    const auto* const text = std::get_if<std::string>(&value->value);
    // And does not show what it is.
    if (text == nullptr || text->empty()) Fault(key, "expected a text that is not empty");
    if (text != nullptr) target = *text;
    return true;
  }
  if (file == nullptr) return false;
  std::string path;
  Path(file_key.c_str(), path);
  if (path.empty()) return true;
  std::error_code error;
  std::ifstream stream(path, std::ios::binary);
  if (!stream || std::filesystem::is_directory(path, error)) {
    Fault(file_key, absl::StrCat("expected the path of a file that can be read, got ", Quoted(path)));
    return true;
  }
  std::string text(kMostSecretBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > kMostSecretBytes) {
    Fault(file_key, absl::StrCat("expected a file of at most ", kMostSecretBytes, " bytes"));
    return true;
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.empty()) Fault(file_key, "expected a file that is not empty");
  target = std::move(text);
  return true;
}

void ConfigTable::Path(const char* key, std::string& target) {
  const std::string* const text = TakeText(key, "the path of a file");
  if (text == nullptr) return;
  if (text->empty()) {
    Fault(key, "expected the path of a file, got nothing");
  } else {
    target = (std::filesystem::path(faults_->file()).parent_path() / *text).string();
  }
}

std::optional<ConfigTable> ConfigTable::Table(const char* key) {
  const TomlValue* const value = Take(key);
  if (value == nullptr) return std::nullopt;
  if (std::holds_alternative<TomlTable>(value->value)) {
    return ConfigTable(*value, path_.empty() ? key : absl::StrCat(path_, ".", key), *faults_);
  }
  Unexpected(key, "a table", *value);
  return std::nullopt;
}

std::vector<std::pair<std::string, ConfigTable>> ConfigTable::Tables(const char* key) {
  std::vector<std::pair<std::string, ConfigTable>> tables;
  std::optional<ConfigTable> outer = Table(key);
  if (!outer) return tables;
  for (const auto& [name, value] : std::get<TomlTable>(outer->table_->value)) {
    if (!core::IsName(name)) {
      faults_->Add(
          value.line, outer->path_,
          absl::StrCat("expected names of 1 to 63 of a-z, 0-9, \".\", \"_\" and \"-\", which begin with "
                       "a letter or digit, got ",
                       Quoted(name)));
    } else if (auto table = outer->Table(name.c_str())) {
      tables.emplace_back(name, *std::move(table));
    }
  }
  return tables;
}

void ConfigTable::Finish() {
  for (const auto& [key, value] : std::get<TomlTable>(table_->value)) {
    if (known_.count(key) > 0) continue;
    const std::string closest = Closest(key, known_);
    faults_->Add(value.line, path_.empty() ? "the file" : path_,
                 absl::StrCat("there is no key ", Quoted(key),
                              closest.empty() ? "" : absl::StrCat(R"(; did you mean ")", closest, R"("?)")));
  }
}

}  // namespace pglessor
