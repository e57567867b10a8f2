#include "tests/support/exposition.h"

#include <algorithm>
#include <cmath>
#include <regex>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace pglessor::test {
namespace {

constexpr char kLabel[] = R"re(([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)")re";

}  // namespace

Exposition::Exposition(const std::string& text) {
  if (!absl::EndsWith(text, "\n")) faults_.emplace_back("its last line has no end");
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    line[0] == '#' ? Comment(line) : Sample(line);
  }
  for (const Family& family : families_) {
    if (!family.has_help) faults_.push_back(absl::StrCat(family.name, ": no HELP"));
    if (family.type.empty()) faults_.push_back(absl::StrCat(family.name, ": no TYPE"));
    if ((family.type == "counter") != absl::EndsWith(family.name, "_total")) {
      faults_.push_back(absl::StrCat(family.name, ": a ", family.type, " of that name"));
    }
  }
}

double Exposition::Value(const std::string& series) const {
  const auto found = series_.find(series);
  EXPECT_NE(found, series_.end()) << "no " << series;
  return found == series_.end() ? std::nan("") : found->second;
}

void Exposition::Fault(const std::string& line, const std::string& what) {
  faults_.push_back(absl::StrCat(what, ": ", line));
}

Exposition::Family& Exposition::FamilyOf(const std::string& name, const std::string& line) {
  if (!families_.empty() && families_.back().name == name) return families_.back();
  const bool known =
      std::any_of(families_.begin(), families_.end(), [&](const Family& each) { return each.name == name; });
  if (known) Fault(line, "its family is not in one piece");
  families_.push_back({.name = name, .type = ""});
  return families_.back();
}

void Exposition::Comment(const std::string& line) {
  static const std::regex form("# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)");
  std::smatch parts;
  if (!std::regex_match(line, parts, form)) return Fault(line, "neither HELP nor TYPE");
  Family& family = FamilyOf(parts[2], line);
  if (family.has_samples) Fault(line, "behind its samples");
  if (parts[1] == "HELP") {
    if (std::exchange(family.has_help, true)) Fault(line, "a second HELP");
    return;
  }
  if (!family.type.empty()) Fault(line, "a second TYPE");
  family.type = parts[3];
  const std::set<std::string> types = {"counter", "gauge", "summary", "histogram"};
  if (types.count(family.type) == 0) Fault(line, "an unknown type");
}

void Exposition::Sample(const std::string& line) {
  static const std::regex form(
      absl::StrCat("([a-zA-Z_:][a-zA-Z0-9_:]*)(\\{(?:", kLabel, "(?:,(?!\\})|(?=\\})))*\\})? ([^ ]+)"));
  std::smatch parts;
  if (!std::regex_match(line, parts, form)) return Fault(line, "no sample");
  const std::string labels = parts[2];
  const std::string value_text = parts[5];

  std::string name = parts[1];
  if (!families_.empty() && families_.back().type == "summary") {
    for (const char* const suffix : {"_sum", "_count"}) {
      if (name == absl::StrCat(families_.back().name, suffix)) name = families_.back().name;
    }
  }
  Family& family = FamilyOf(name, line);
  family.has_samples = true;

  std::set<std::string> names;
  static const std::regex label(kLabel);
  for (auto each = std::sregex_iterator(labels.begin(), labels.end(), label); each != std::sregex_iterator();
       ++each) {
    if (!names.insert((*each)[1]).second) Fault(line, "a label twice");
  }
  double value = 0;
  if (!absl::SimpleAtod(value_text, &value)) Fault(line, "no number");
  if (family.type == "counter" && !(value >= 0)) Fault(line, "a counter below zero");
  if (!series_.emplace(parts[1].str() + labels, value).second) Fault(line, "a series twice");
}

}  // namespace pglessor::test
