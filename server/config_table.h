// Reads one table of the configuration file key by key, and notes a fault for each that is not as expected.
//
// A call takes one key. A key that the file does not say leaves its target as it was; one that is faulty,
// too. Finish notes the keys that no call took. A fault is one line, "FILE:LINE:
// pools.orders.min_connections: expected …, got …", and shows neither a secret nor what looks like one.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

#include "server/core/clock.h"
#include "server/toml_document.h"

namespace pglessor {

// `text` as a fault may show it: in quotes, escaped, shortened; not at all if it may be a DSN.
std::string Quoted(absl::string_view text);

// The faults of one file.
class FileFaults {
 public:
  explicit FileFaults(std::string file) : file_(std::move(file)) {}

  const std::string& file() const { return file_; }
  void Add(uint32_t line, absl::string_view key, absl::string_view what);
  // In the order of the file.
  std::vector<std::string> Lines() const;

 private:
  const std::string file_;
  std::vector<std::pair<uint32_t, std::string>> faults_;
};

class ConfigTable {
 public:
  // `path`: the table's name from the root. Both outlive it; `table` holds a TomlTable.
  ConfigTable(const TomlValue& table, std::string path, FileFaults& faults);

  bool Says(absl::string_view key) const;
  // At the key's line, if the file says it, else at the table's; with an empty key of the table itself.
  void Fault(absl::string_view key, absl::string_view what);

  void Flag(const char* key, bool& target);
  void Text(const char* key, std::string& target);
  void Texts(const char* key, std::vector<std::string>& target);
  template <typename Number>
  struct Bounds {
    Number least;
    Number most;
  };
  void Number(const char* key, Bounds<int64_t> bounds, absl::FunctionRef<void(int64_t)> take);
  void Number(const char* key, Bounds<double> bounds, double& target);
  // Written as text: "30s".
  void Time(const char* key, Bounds<core::Duration> bounds, core::Duration& target);
  // One of `choices`, by its name.
  template <typename Choices, typename Value>
  void Choice(const char* key, const Choices& choices, Value& target);
  // The text KEY, or what the file KEY_file holds, without its last line's end. True if either is said; with
  // a fault, `target` may be empty.
  bool Secret(const std::string& key, std::string& target);
  // A path, which counts from the configuration file's folder.
  void Path(const char* key, std::string& target);

  std::optional<ConfigTable> Table(const char* key);
  // The tables in the table `key`, by their names, which are each [a-z0-9][a-z0-9._-]{0,62}.
  std::vector<std::pair<std::string, ConfigTable>> Tables(const char* key);

  // Every other key is a fault.
  void Finish();

 private:
  uint32_t LineOf(absl::string_view key) const;
  // Null if the file does not say it.
  const TomlValue* Take(const std::string& key);
  // The text of `key`, or nothing and a fault.
  const std::string* TakeText(const char* key, absl::string_view expected);
  void Unexpected(absl::string_view key, absl::string_view expected, const TomlValue& got);

  const TomlValue* table_;
  std::string path_;
  FileFaults* faults_;
  std::set<std::string> known_;
};

// A name in the file and what it stands for; a list of them is what a key may be.
template <typename Value>
struct Named {
  const char* name;
  Value value;
};

template <typename Choices, typename Value>
void ConfigTable::Choice(const char* key, const Choices& choices, Value& target) {
  std::string expected;
  for (const auto& choice : choices) {
    expected.append(expected.empty() ? "" : ", ").append(1, '"').append(choice.name).append(1, '"');
  }
  const std::string* const text = TakeText(key, expected);
  if (text == nullptr) return;
  for (const auto& choice : choices) {
    if (*text == choice.name) {
      target = choice.value;
      return;
    }
  }
  Fault(key, "expected " + expected + ", got " + Quoted(*text));
}

}  // namespace pglessor
