// A holder to be killed: takes a lease on the server at argv[1] for argv[2] milliseconds, opens a
// transaction, says so on stdout, and waits for its end; its client renews the lease meanwhile.
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "pglessor/client.h"
#include "pglessor/transaction.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  absl::StatusOr<pglessor::Client> client = pglessor::Client::Create({.address = argv[1]});
  if (!client.ok()) return 1;
  absl::StatusOr<pglessor::Lease> lease =
      client->Acquire({.ttl = std::chrono::milliseconds(std::atoi(argv[2]))});
  if (!lease.ok()) return 1;
  absl::StatusOr<pglessor::Transaction> transaction = pglessor::Transaction::Begin(*lease);
  if (!transaction.ok()) return 1;
  if (!transaction->Execute("INSERT INTO deeds VALUES ('unfinished')").ok()) return 1;
  std::cout << lease->backend_pid() << std::endl;
  for (;;) pause();
}
