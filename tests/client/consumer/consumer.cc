// A user's program: it links, and finds that nobody is there.
#include <pglessor/client.h>
#include <pglessor/error.h>
#include <pglessor/transaction.h>

#include <iostream>

int main() {
  absl::StatusOr<pglessor::Client> client = pglessor::Client::Create({.address = "unix:/nobody/is/here"});
  if (!client.ok()) return 1;
  absl::StatusOr<pglessor::Lease> lease = client->Acquire({.holder = "consumer"});
  if (lease.ok()) {
    absl::StatusOr<pglessor::Transaction> transaction = pglessor::Transaction::Begin(*lease);
    return 2;
  }
  std::cout << lease.status() << " " << pglessor::ErrorReason(lease.status()) << std::endl;
  return absl::IsUnavailable(lease.status()) ? 0 : 3;
}
