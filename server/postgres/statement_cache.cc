#include "server/postgres/statement_cache.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "server/core/statement_outcome.h"

namespace pglessor::postgres {
namespace {

enum class Kind {
  kRepeatable,
  kHarmless,    // is run as it is, and changes nothing for others
  kUnsettling,  // may change what others mean
};

constexpr std::array<absl::string_view, 8> kRepeatable = {
    "DELETE", "INSERT", "MERGE", "SELECT", "TABLE", "UPDATE", "VALUES", "WITH",
};

constexpr std::array<absl::string_view, 16> kHarmless = {
    "ABORT", "BEGIN", "CLOSE",  "COMMIT",  "COPY",     "DECLARE",   "END",  "FETCH",
    "LOCK",  "MOVE",  "NOTIFY", "RELEASE", "ROLLBACK", "SAVEPOINT", "SHOW", "START",
};

bool IsOfWord(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_'; }

// Drops what is no word from the front of `sql`, and takes the word from it; empty at the end.
absl::string_view TakeWord(absl::string_view& sql) {
  const auto* const begin = std::find_if(sql.begin(), sql.end(), IsOfWord);
  sql.remove_prefix(static_cast<size_t>(begin - sql.begin()));
  const auto* const end = std::find_if_not(sql.begin(), sql.end(), IsOfWord);
  const absl::string_view word = sql.substr(0, static_cast<size_t>(end - sql.begin()));
  sql.remove_prefix(word.size());
  return word;
}

// As "app.tenant" is: a name with a dot, so the application's or an extension's. Nothing that is parsed
// depends on it.
bool BeginsWithCustomSetting(absl::string_view text) {
  const auto* const end = std::find_if_not(text.begin(), text.end(), [](char c) {
    return IsOfWord(c) || absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '.';
  });
  return absl::StrContains(text.substr(0, static_cast<size_t>(end - text.begin())), ".");
}

bool SetsCustomSetting(absl::string_view sql) {
  constexpr int kEnough = 8;
  const std::vector<absl::string_view> words =
      absl::StrSplit(sql, absl::MaxSplits(absl::ByAnyChar(" \t\r\n"), kEnough), absl::SkipEmpty());
  if (words.size() < 2 || !absl::EqualsIgnoreCase(words[0], "SET")) return false;
  const bool qualified =
      absl::EqualsIgnoreCase(words[1], "LOCAL") || absl::EqualsIgnoreCase(words[1], "SESSION");
  return BeginsWithCustomSetting(words[qualified && words.size() > 2 ? 2 : 1]);
}

// Where `word` stands around the `_` at `at`; nothing if it does not.
absl::string_view WordAround(absl::string_view sql, size_t at, absl::string_view word) {
  const size_t before = word.find('_');
  if (at < before) return {};
  const absl::string_view found = sql.substr(at - before, word.size());
  return absl::EqualsIgnoreCase(found, word) ? found : absl::string_view();
}

// Whether it may call set_config for a setting of PostgreSQL's, or write to the view that does. Both of these
// words, and this one of a text of any length, are looked for wherever they stand: one too many costs names,
// and that is all.
bool ChangesSettings(absl::string_view sql) {
  for (size_t at = sql.find('_'); at != absl::string_view::npos; at = sql.find('_', at + 1)) {
    if (!WordAround(sql, at, "pg_settings").empty()) return true;
    const absl::string_view call = WordAround(sql, at, "set_config");
    if (call.empty()) continue;
    absl::string_view arguments(call.end(), static_cast<size_t>(sql.end() - call.end()));
    if (!absl::ConsumePrefix(&arguments, "('") || !BeginsWithCustomSetting(arguments)) return true;
  }
  return false;
}

// Whether a literal in it may be read against the clock. Once parsed, 'now' is a constant; now() is not.
bool ReadsTheClock(absl::string_view sql) {
  while (true) {
    const absl::string_view word = TakeWord(sql);
    if (word.empty()) return false;
    if (absl::EqualsIgnoreCase(word, "today") || absl::EqualsIgnoreCase(word, "tomorrow") ||
        absl::EqualsIgnoreCase(word, "yesterday") ||
        (absl::EqualsIgnoreCase(word, "now") && !absl::StartsWith(sql, "("))) {
      return true;
    }
  }
}

Kind KindOf(absl::string_view sql) {
  const std::string keyword = core::FirstKeyword(sql);
  if (keyword == "SET" && SetsCustomSetting(sql)) return Kind::kHarmless;
  const bool repeatable = std::binary_search(kRepeatable.begin(), kRepeatable.end(), keyword);
  const bool known = repeatable || std::binary_search(kHarmless.begin(), kHarmless.end(), keyword);
  if (!known || ChangesSettings(sql)) return Kind::kUnsettling;
  return repeatable && sql.size() <= StatementCache::kMaxText && !ReadsTheClock(sql) ? Kind::kRepeatable
                                                                                     : Kind::kHarmless;
}

// What PostgreSQL is told to parse: the parameters' number and types, and the text. Empty where that is too
// long to be kept.
std::string Key(const core::Statement& statement) {
  std::string key;
  if (statement.sql.size() + statement.parameters.size() > StatementCache::kMaxText) return key;
  key.reserve(statement.parameters.size() + 1 + statement.sql.size());
  for (const core::Parameter& parameter : statement.parameters) key += parameter.binary ? 'b' : 't';
  absl::StrAppend(&key, ":", statement.sql);
  return key;
}

}  // namespace

StatementWay StatementCache::Choose(const core::Statement& statement) {
  just_met_ = false;
  const std::string key = Key(statement);
  const auto known = names_.find(key);
  if (known != names_.end()) return {StatementWay::How::kPrepared, known->second};
  const Kind kind = KindOf(statement.sql);
  if (kind == Kind::kUnsettling) Unsettle();
  if (kind != Kind::kRepeatable || key.empty() || !TakesMore() || Meet(key)) return {};
  return {StatementWay::How::kPrepare, absl::StrCat("pglessor_", prepared_ + 1)};
}

// True if it is for the first time, as far as is remembered.
bool StatementCache::Meet(const std::string& key) {
  const size_t hash = absl::HashOf(key);
  if (std::find(met_.begin(), met_.end(), hash) != met_.end()) return false;
  met_[next_met_++ % met_.size()] = hash;
  just_met_ = true;
  return true;
}

void StatementCache::OnUnnamedFailed() {
  if (std::exchange(just_met_, false)) met_[--next_met_ % met_.size()] = 0;
}

void StatementCache::Unsettle() {
  names_.clear();
  unsettled_ = true;
}

void StatementCache::Prepared(const core::Statement& statement) {
  names_[Key(statement)] = absl::StrCat("pglessor_", ++prepared_);
}

void StatementCache::OnFault(const core::Statement& statement, NameFault fault) {
  switch (fault) {
    case NameFault::kNone:
      break;
    case NameFault::kDoubtful:
      names_.erase(Key(statement));
      break;
    case NameFault::kOutdated:
      // The others may be as well, and a transaction that is begun again should not find them one by one.
      names_.clear();
      break;
    case NameFault::kUnknown:
      names_.clear();
      given_up_ = true;
      break;
  }
}

void StatementCache::OnCommand(absl::string_view tag) {
  if (tag == "DEALLOCATE ALL" || tag == "DISCARD ALL") {
    names_.clear();
    prepared_ = 0;
    given_up_ = false;
  } else if (absl::StartsWith(tag, "SELECT")) {
    Unsettle();  // SELECT INTO: a table that may stand before another
  }
}

}  // namespace pglessor::postgres
