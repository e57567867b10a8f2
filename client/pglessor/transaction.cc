#include "pglessor/transaction.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "client/internal/held_lease.h"

namespace pglessor {
namespace {

absl::Status Over() { return absl::FailedPreconditionError("this transaction is over"); }

std::string BeginSql(const TransactionOptions& options) {
  std::string sql = "BEGIN";
  switch (options.isolation) {
    case Isolation::kDefault:
      break;
    case Isolation::kReadCommitted:
      absl::StrAppend(&sql, " ISOLATION LEVEL READ COMMITTED");
      break;
    case Isolation::kRepeatableRead:
      absl::StrAppend(&sql, " ISOLATION LEVEL REPEATABLE READ");
      break;
    case Isolation::kSerializable:
      absl::StrAppend(&sql, " ISOLATION LEVEL SERIALIZABLE");
      break;
  }
  switch (options.access) {
    case Access::kDefault:
      break;
    case Access::kReadWrite:
      absl::StrAppend(&sql, " READ WRITE");
      break;
    case Access::kReadOnly:
      absl::StrAppend(&sql, " READ ONLY");
      break;
  }
  return sql;
}

}  // namespace

absl::StatusOr<Transaction> Transaction::Begin(Lease& lease, const TransactionOptions& options) {
  const std::shared_ptr<internal::HeldLease>& held = lease.held_;
  if (held == nullptr) return absl::FailedPreconditionError("this Lease was moved from");
  // PostgreSQL would only warn, and the outer transaction's work would end with the inner one.
  if (held->in_transaction()) {
    return absl::FailedPreconditionError("a transaction is open on this lease already");
  }
  const absl::StatusOr<Result> begun = held->Run(Statement(BeginSql(options)));
  if (!begun.ok()) return begun.status();
  return Transaction(held);
}

Transaction::Transaction(std::shared_ptr<internal::HeldLease> held) : held_(std::move(held)) {}
Transaction::Transaction(Transaction&&) noexcept = default;

Transaction& Transaction::operator=(Transaction&& other) noexcept {
  if (this == &other) return *this;
  RollbackIfOpen();
  held_ = std::move(other.held_);
  return *this;
}

Transaction::~Transaction() { RollbackIfOpen(); }

void Transaction::RollbackIfOpen() {
  if (held_ != nullptr) Rollback().IgnoreError();  // it has given the lease back, if it failed
}

absl::StatusOr<Result> Transaction::Execute(const Statement& statement) {
  if (held_ == nullptr) return Over();
  return held_->Run(statement);
}

absl::StatusOr<Summary> Transaction::Query(const Statement& statement,
                                           absl::FunctionRef<absl::Status(const Row&)> each_row) {
  if (held_ == nullptr) return Over();
  return held_->Run(statement, [each_row](Row&& row) { return each_row(row); });
}

absl::Status Transaction::Commit() {
  if (held_ == nullptr) return Over();
  const absl::StatusOr<Result> committed = held_->Run(Statement("COMMIT"));
  // After a failure it may be open still: the destructor's ROLLBACK costs a round trip and harms nothing.
  if (!committed.ok()) return committed.status();
  held_ = nullptr;
  // PostgreSQL answers the COMMIT of a failed transaction by rolling it back, and calls that a success.
  if (committed->command_tag() != "COMMIT") {
    return absl::AbortedError("a statement of the transaction had failed, so it was rolled back");
  }
  return absl::OkStatus();
}

absl::Status Transaction::Rollback() {
  if (held_ == nullptr) return Over();
  const std::shared_ptr<internal::HeldLease> held = std::move(held_);
  if (held->lost()) return absl::OkStatus();  // rolled back by whatever ended the lease
  Statement rollback("ROLLBACK");
  rollback.timeout = held->call_timeout();
  const absl::StatusOr<Result> rolled_back = held->Run(rollback);
  if (rolled_back.ok() || held->lost()) return absl::OkStatus();
  // What was to be undone may still stand open: giving the lease back undoes it for certain.
  const absl::Status why(absl::StatusCode::kFailedPrecondition,
                         absl::StrCat("the lease was given back, since a transaction could not be rolled "
                                      "back on it: ",
                                      rolled_back.status().message()));
  held->Abandon(why);
  return rolled_back.status();
}

}  // namespace pglessor
