// Runs something again where its failure says that this is safe.
//
//   absl::StatusOr<pglessor::Result> total = pglessor::Retry({}, [&] {
//     return client->Once("SELECT sum(cents)::int8 FROM account");
//   });
//
// What is run again must be all or nothing: an Acquire, a Once, or a function that takes a lease, runs one
// transaction on it and commits. A lost answer to a COMMIT, or to a statement outside a transaction, is
// `COMMIT_OUTCOME_UNKNOWN`, and is never run again.
//
// Threads: any. It sleeps between attempts, by the thread that calls.
#pragma once

#include <chrono>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace pglessor {

struct RetryOptions {
  int attempts = 5;  // at least 1
  // The pause doubles from one attempt to the next, with a jitter of a half; where the server says how long
  // to wait, it is that at least.
  std::chrono::nanoseconds first_pause = std::chrono::milliseconds(50);
  std::chrono::nanoseconds longest_pause = std::chrono::seconds(2);
};

// Whether what failed so has certainly left nothing behind, and may succeed another time: there was no
// capacity, the database or the server was out of reach, the lease or its connection was lost before a COMMIT
// was sent (but not where a Release tells so: what was committed before it stays), or PostgreSQL chose the
// transaction as the victim of a conflict (40001, 40P01) or a lock (55P03).
bool IsSafeToRetry(const absl::Status& status);

namespace internal {
// Sleeps before the next attempt; `failed` of them have been made.
void PauseBeforeRetry(const RetryOptions& options, int failed, const absl::Status& why);

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& value) {
  return value.status();
}
}  // namespace internal

// What the last attempt returned: an absl::Status or an absl::StatusOr.
template <typename Attempt>
auto Retry(const RetryOptions& options, Attempt&& attempt) -> decltype(attempt()) {
  for (int failed = 0;;) {
    auto outcome = attempt();
    if (++failed >= options.attempts || !IsSafeToRetry(internal::StatusOf(outcome))) return outcome;
    internal::PauseBeforeRetry(options, failed, internal::StatusOf(outcome));
  }
}

}  // namespace pglessor
