// Moves money between two accounts, and shows on the way how the client is used.
//
//   script/server                            # in another terminal; go on when it says ready
//   cmake --build build --target transfer
//   build/client/transfer                    # or: build/client/transfer HOST:PORT
#include <cstdint>
#include <iostream>
#include <string>

#include "pglessor/client.h"
#include "pglessor/error.h"
#include "pglessor/transaction.h"

namespace {

// [transfer]
// Either both accounts change, or neither does.
absl::Status Transfer(pglessor::Lease& lease, const std::string& from, const std::string& to, int64_t cents) {
  absl::StatusOr<pglessor::Transaction> transaction =
      pglessor::Transaction::Begin(lease, {.isolation = pglessor::Isolation::kSerializable});
  if (!transaction.ok()) return transaction.status();

  absl::StatusOr<pglessor::Result> taken =
      transaction->Execute("UPDATE account SET cents = cents - $1 WHERE name = $2", cents, from);
  if (!taken.ok()) return taken.status();  // rolled back on the way out, here and below
  absl::StatusOr<pglessor::Result> given =
      transaction->Execute("UPDATE account SET cents = cents + $1 WHERE name = $2", cents, to);
  if (!given.ok()) return given.status();
  if (taken->rows_affected() != 1 || given->rows_affected() != 1) {
    return absl::NotFoundError("no such account");
  }
  return transaction->Commit();
}
// [transfer]

absl::Status MakeAccounts(pglessor::Lease& lease) {
  for (const char* sql : {"CREATE TEMP TABLE account (name text PRIMARY KEY, cents int8 CHECK (cents >= 0))",
                          "INSERT INTO account VALUES ('ann', 10000), ('bob', 500)"}) {
    const absl::StatusOr<pglessor::Result> made = lease.Execute(sql);
    if (!made.ok()) return made.status();
  }
  return absl::OkStatus();
}

// [rows]
absl::Status ShowAccounts(pglessor::Lease& lease) {
  absl::StatusOr<pglessor::Result> accounts = lease.Execute("SELECT name, cents FROM account ORDER BY name");
  if (!accounts.ok()) return accounts.status();
  for (const pglessor::Row& row : *accounts) {
    absl::StatusOr<std::string> name = row.get<std::string>("name");
    absl::StatusOr<int64_t> cents = row.get<int64_t>("cents");
    if (!name.ok()) return name.status();
    if (!cents.ok()) return cents.status();
    std::cout << *name << " has " << *cents << " cents\n";
  }
  return absl::OkStatus();
}
// [rows]

// [errors]
void Explain(const absl::Status& status) {
  const std::string reason = pglessor::ErrorReason(status);
  if (reason == "SQL_ERROR") {
    std::cout << "PostgreSQL refused it, SQLSTATE " << pglessor::SqlState(status) << ": " << status.message();
  } else if (reason == "POOL_EXHAUSTED") {
    std::cout << "every connection is in use; try again later";
  } else if (reason == "COMMIT_OUTCOME_UNKNOWN") {
    std::cout << "it may have happened: look before you try again";
  } else {
    std::cout << status;
  }
  std::cout << '\n';
}
// [errors]

// [acquire]
absl::Status Run(const std::string& address) {
  absl::StatusOr<pglessor::Client> client = pglessor::Client::Create({.address = address});
  if (!client.ok()) return client.status();
  absl::StatusOr<pglessor::Lease> lease =
      client->Acquire({.holder = "transfer example", .ttl = std::chrono::seconds(10)});
  if (!lease.ok()) return lease.status();
  std::cout << "lease " << lease->lease_id() << " on backend " << lease->backend_pid() << '\n';
  // [acquire]

  absl::Status status = MakeAccounts(*lease);
  if (!status.ok()) return status;
  status = Transfer(*lease, "ann", "bob", 2500);
  if (!status.ok()) return status;
  Explain(Transfer(*lease, "bob", "ann", 1'000'000));  // more than he has: 23514, check_violation
  status = ShowAccounts(*lease);
  if (!status.ok()) return status;
  return lease->Release().status();
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status = Run(argc > 1 ? argv[1] : "127.0.0.1:7432");
  if (status.ok()) return 0;
  Explain(status);
  return 1;
}
