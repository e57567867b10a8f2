// A transaction on a lease: committed by Commit, rolled back by everything else.
//
//   absl::StatusOr<pglessor::Transaction> transaction = pglessor::Transaction::Begin(*lease);
//   if (!transaction.ok()) return transaction.status();
//   absl::StatusOr<pglessor::Result> paid = transaction->Execute("UPDATE …", 5);
//   if (!paid.ok()) return paid.status();  // rolled back on the way out
//   return transaction->Commit();
//
// The destructor of one that is still open blocks for the round trip of its ROLLBACK, at most
// ClientOptions::call_timeout: the lease is ready for the next statement when the scope has been left. If the
// rollback fails, the lease is given back as a whole, and is lost(): nothing may run inside what was meant to
// be over.
//
// Threads: as Lease; used by one at a time.
// Owns: a share in the lease's hold. The Lease may be moved meanwhile; where it is released, the transaction
// has been rolled back by that.
#pragma once

#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "pglessor/lease.h"
#include "pglessor/result.h"
#include "pglessor/statement.h"

namespace pglessor {

enum class Isolation { kDefault, kReadCommitted, kRepeatableRead, kSerializable };
enum class Access { kDefault, kReadWrite, kReadOnly };

struct TransactionOptions {
  Isolation isolation = Isolation::kDefault;  // the session's default, usually READ COMMITTED
  Access access = Access::kDefault;
};

class [[nodiscard]] Transaction {
 public:
  // Fails with: as Lease::Execute; FAILED_PRECONDITION if one is open on the lease already.
  static absl::StatusOr<Transaction> Begin(Lease& lease, const TransactionOptions& options = {});

  Transaction(Transaction&&) noexcept;
  Transaction& operator=(Transaction&&) noexcept;
  ~Transaction();

  template <typename... Params>
  absl::StatusOr<Result> Execute(absl::string_view sql, Params&&... params) {
    return Execute(Statement(std::string(sql), {Value(std::forward<Params>(params))...}));
  }
  absl::StatusOr<Result> Execute(const Statement& statement);
  absl::StatusOr<Summary> Query(const Statement& statement,
                                absl::FunctionRef<absl::Status(const Row&)> each_row);

  // OK means committed. ABORTED without a reason: a statement of it had failed, so PostgreSQL rolled it back.
  // UNKNOWN `COMMIT_OUTCOME_UNKNOWN`: the answer was lost; look before you repeat it.
  absl::Status Commit();
  absl::Status Rollback();

 private:
  explicit Transaction(std::shared_ptr<internal::HeldLease> held);
  void RollbackIfOpen();

  std::shared_ptr<internal::HeldLease> held_;  // null when it is over
};

}  // namespace pglessor
