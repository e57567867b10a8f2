// Which of a connection's statements go to PostgreSQL by a name: those that its lease repeats. So that a
// caller who runs one statement with many parameters has it parsed once.
//
//   its first run            the second                        the third and on
//   unnamed, as any other    prepared with a name, and run     run by its name alone
//                            by that, in one flush
//
// It keeps account only: the backend prepares and runs.
//
//  1. PostgreSQL holds at most kMaxPrepared of our names: nothing more is prepared then until Clear. Those
//     that are forgotten count, for PostgreSQL keeps them until the session is cleaned.
//  2. A statement means by its name what it would mean without: a text that may change what names, settings
//     or literals mean makes us forget all, and prepare nothing while its transaction is open. What a
//     function changes cannot be seen in a text; its session tells of those settings that PostgreSQL reports
//     (Forget).
//  3. A text whose literals PostgreSQL reads against the clock ('today') gets no name.
//
// Threads: one at a time; the session's loop.
// Cost: a look-up by the text. Memory: 64 texts of 4 KiB at most, and 128 hashes.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

#include "server/core/statement.h"

namespace pglessor::postgres {

// How a statement is sent.
struct StatementWay {
  enum class How {
    kUnnamed,
    kPrepare,   // with `name`, and run by that
    kPrepared,  // run by `name`
  };
  How how = How::kUnnamed;
  std::string name;
};

// What an error may say of the name by which its statement went.
enum class NameFault {
  kNone,
  kUnknown,   // PostgreSQL has no such name, or had it already: nothing was run
  kOutdated,  // the statement's columns are others now: nothing was run
  kDoubtful,  // it may come from what it was prepared with, and that has changed since
};

class StatementCache {
 public:
  static constexpr size_t kMaxPrepared = 64;
  static constexpr size_t kMaxText = 4096;
  static constexpr size_t kMaxMet = 128;  // texts remembered to have been run once

  // The next statement's way.
  StatementWay Choose(const core::Statement& statement);
  // No transaction is open.
  void Settle() { unsettled_ = false; }

  // PostgreSQL has prepared it, as Choose said last.
  void Prepared(const core::Statement& statement);
  void OnFault(const core::Statement& statement, NameFault fault);
  // What went unnamed last has failed. It gets no name as long as it does: an error may show that.
  void OnUnnamedFailed();
  // A command without columns was done.
  void OnCommand(absl::string_view tag);
  // What they mean may be another thing now.
  void Forget() { names_.clear(); }
  // The lease has ended; whoever comes next finds a session that knows no names.
  void Clear() { *this = {}; }

 private:
  bool TakesMore() const { return !unsettled_ && !given_up_ && prepared_ < kMaxPrepared; }
  bool Meet(const std::string& key);
  void Unsettle();

  absl::flat_hash_map<std::string, std::string> names_;  // by what Key makes of a statement
  size_t prepared_ = 0;  // names that PostgreSQL has, those we forgot included
  // A collision prepares a text one run early.
  std::array<size_t, kMaxMet> met_{};
  size_t next_met_ = 0;
  bool just_met_ = false;  // the last one chosen
  bool unsettled_ = false;
  bool given_up_ = false;  // somebody else uses our names
};

}  // namespace pglessor::postgres
