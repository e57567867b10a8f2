// What a holder may be told of a statement whose answer never came.
//
// The rule: never say "it did not happen" of what may have happened, for callers retry on that word.
//
//   sent?  in a transaction?  first keyword          connection lost        lease ended
//   no     -                  -                      ABORTED                FAILED_PRECONDITION
//                                                    CONNECTION_LOST        its end reason
//   yes    yes                one that cannot end    the same               the same
//                             the transaction
//   yes    otherwise                                 UNKNOWN COMMIT_OUTCOME_UNKNOWN
//
// Inside a transaction an unanswered statement is rolled back with it, unless it ends the transaction
// (COMMIT, END, PREPARE TRANSACTION), may do so inside (CALL, DO), or is not one that we recognise.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "server/core/lease.h"
#include "server/core/statement.h"

namespace pglessor::core {

// Pure. Requires: end.how is kConnectionLost or kFenced. `stays_in_transaction` is what StaysInTransaction
// says of the statement, `lease_end` its lease's end reason, if known.
absl::Status OutcomeOfUnanswered(const StatementEnd& end, bool stays_in_transaction,
                                 std::optional<EndReason> lease_end);

// How far a statement came whose answer its holder does not get.
enum class Ran {
  kToItsEnd,  // what it has changed stands, or will with its transaction
  kStopped,   // PostgreSQL broke it off, as it does with an error
};

// Pure. `why` the answer is withheld, and metadata `executed`; the text too warns of what has been executed.
// Requires: MakeError made it.
absl::Status AnswerWithheld(const absl::Status& why, Ran ran);

// True if `sql` starts with a keyword, after blanks and comments, of which we know that it neither ends a
// transaction nor can contain something that does.
bool StaysInTransaction(absl::string_view sql);

// The statement's first word, after blanks and comments, in capitals; empty if it does not begin with one.
std::string FirstKeyword(absl::string_view sql);

}  // namespace pglessor::core
