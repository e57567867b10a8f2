// Leases and statements on one stream, without a call for each.
//
//   absl::StatusOr<pglessor::Session> session = client->NewSession();
//   absl::Status leased = session->Acquire({.holder = "billing"});
//   absl::StatusOr<pglessor::Result> fruit = session->Execute("SELECT * FROM fruit WHERE grams > $1", 100);
//
// A session has one lease at a time; after Release another Acquire may follow. The server renews the lease
// for as long as the stream lives, unless `ttl` sets it a hard end. Where the stream breaks, or this object
// goes, the lease ends at once: what was not committed is rolled back.
//
// Threads: one at a time. A moved-from session is harmless: every call fails with FAILED_PRECONDITION.
// Owns: its stream, and so its lease. It must not outlive its Client.
// Fails with: what the server says, as Lease does. UNKNOWN `COMMIT_OUTCOME_UNKNOWN` where the stream broke
// under a statement; UNAVAILABLE, and nothing was run, after that.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "pglessor/acquire_options.h"
#include "pglessor/lease.h"
#include "pglessor/result.h"
#include "pglessor/statement.h"
#include "pglessor/value.h"

namespace pglessor {

namespace internal {
class SessionStream;
}  // namespace internal

class Session {
 public:
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;  // ends the one that it replaces
  ~Session();

  // Leases a connection; waits its turn for one, at most `wait_timeout`. `timeout` has no meaning here.
  absl::Status Acquire(const AcquireOptions& options = {});

  // Runs one statement; blocks until all of its answer is here. `Statement::timeout` is the server's to keep:
  // it counts from when the statement is sent to PostgreSQL.
  template <typename... Params>
  absl::StatusOr<Result> Execute(absl::string_view sql, Params&&... params) {
    return Execute(Statement(std::string(sql), {Value(std::forward<Params>(params))...}));
  }
  absl::StatusOr<Result> Execute(const Statement& statement);

  // Runs all of them, in order, without waiting for one answer before the next is sent. Each has its own
  // outcome: one that fails does not keep the next from running, but for what PostgreSQL refuses in a failed
  // transaction.
  std::vector<absl::StatusOr<Result>> ExecuteAll(absl::Span<const Statement> statements);

  // Gives the connection back, and waits until nothing of ours can reach the database any more.
  absl::StatusOr<ReleaseResult> Release();

  // Of the present lease, or the last one; empty and 0 before the first.
  const std::string& lease_id() const;
  int32_t backend_pid() const;
  uint64_t fencing_token() const;

 private:
  friend class Client;
  explicit Session(std::unique_ptr<internal::SessionStream> stream);

  std::unique_ptr<internal::SessionStream> stream_;  // null after a move
};

}  // namespace pglessor
