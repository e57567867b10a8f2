// The right to one PostgreSQL connection, for as long as this object lives and the server can be reached.
//
// It renews itself in the background, and is released when it goes out of scope: what was not committed is
// rolled back, and the connection serves the next. It is one PostgreSQL session: prepared statements,
// temporary tables, SET and advisory locks last as long as the lease.
//
// A lease can be lost: taken away by an operator, its connection dead, or the server out of reach for its
// whole ttl. lost() says so from the very moment from which somebody else may have the connection, by a clock
// that no wall-clock step moves (CLOCK_BOOTTIME), counted from when the last granted request was *sent*. It
// is one-way. A statement that runs at that moment is cut off. Work that is guarded by the lease but done
// elsewhere should look at lost() before each step, and carry fencing_token().
//
// Threads: any, at once, but only one statement runs on a lease at a time (else ABORTED `LEASE_BUSY`);
// moving, assigning and destroying need the lease for themselves. A moved-from lease is harmless: lost(),
// empty, and every call fails with FAILED_PRECONDITION. Owns: its hold on the lease. It may outlive its
// Client, and is lost then. Fails with: what the server says. FAILED_PRECONDITION with a reason such as
// `LEASE_EXPIRED` means that the lease is gone. UNKNOWN `COMMIT_OUTCOME_UNKNOWN` means that the answer to a
// statement was lost: look before you repeat it. An `SQL_ERROR` leaves the lease alive.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "pglessor/result.h"
#include "pglessor/statement.h"

namespace pglessor {

namespace internal {
class HeldLease;
}  // namespace internal

struct ReleaseResult {
  bool already_released = false;
  bool rolled_back = false;  // a transaction was open
};

class Lease {
 public:
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) noexcept;  // releases the one that it replaces
  // Releases without blocking: the background thread tells the server.
  ~Lease();

  // Runs one statement; blocks until all of its answer is here.
  template <typename... Params>
  absl::StatusOr<Result> Execute(absl::string_view sql, Params&&... params) {
    return Execute(Statement(std::string(sql), {Value(std::forward<Params>(params))...}));
  }
  absl::StatusOr<Result> Execute(const Statement& statement);

  // Runs one statement and hands over its rows as they come: PostgreSQL is read no faster than `each_row`
  // returns, and only a batch of rows is in memory. An error that it returns cancels the statement and is
  // what Query returns. It must not throw, nor call the lease.
  absl::StatusOr<Summary> Query(const Statement& statement,
                                absl::FunctionRef<absl::Status(const Row&)> each_row);

  // Gives the connection back, and waits until nothing of ours can reach the database any more. Fails with
  // the reason if the lease was taken away before: what it had not committed was rolled back. After a failure
  // of the connection to the server, the destructor still releases.
  absl::StatusOr<ReleaseResult> Release();
  // The same, and PostgreSQL's connection is closed and not lent again: for a session that is spoilt.
  absl::StatusOr<ReleaseResult> Discard();

  // Whether it can no longer be trusted. True from the first attempt to release it on. Cost: a short lock.
  bool lost() const;

  const std::string& lease_id() const;  // public; for logs
  const std::string& pool() const;
  // The pool that was asked for, where pool() stands in for it (AcquireOptions::allow_fallback); else empty.
  const std::string& fallback_for() const;
  const std::string& connection_id() const;
  int32_t backend_pid() const;  // as in pg_stat_activity.pid
  // Rises with every grant of the pool: store it with what you write elsewhere, and refuse a lower one there.
  uint64_t fencing_token() const;
  std::chrono::nanoseconds ttl() const;  // the present one: what came out of the asked one
  std::chrono::nanoseconds waited() const;
  const std::string& server_address() const;
  const std::string& gateway_address() const;  // empty if that server has none

 private:
  friend class Client;
  friend class Transaction;
  explicit Lease(std::shared_ptr<internal::HeldLease> held);

  std::shared_ptr<internal::HeldLease> held_;  // null after a move; shared with calls in the background
};

}  // namespace pglessor
