// A holder to be killed: takes a lease on the server at argv[1] for argv[2] milliseconds, leaves something
// of every kind in its session, and a transaction open; then says so on stdout and waits for its end.
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "tests/system/support/client.h"

int main(int argc, char** argv) {
  using namespace pglessor::system;  // NOLINT(google-build-using-namespace): a main and no more
  if (argc != 3) return 2;
  Client client(argv[1]);
  const auto held = client.Acquire(AcquireFor(std::chrono::milliseconds(std::atoi(argv[2]))));
  if (!held.ok()) return 1;
  for (const char* sql :
       {"CREATE TEMP TABLE remains (x int)", "SET work_mem = '77MB'", "SET search_path = pg_catalog",
        "SELECT pg_advisory_lock(4711)", "BEGIN", "INSERT INTO public.deeds VALUES ('unfinished')"}) {
    const Result result = client.Execute(held.response.lease_token(), sql);
    if (!result.ok()) {
      std::cerr << sql << ": " << result.status.error_message() << std::endl;
      return 1;
    }
  }
  // What the test needs to know: since when, and on which backend.
  const pglessor::v1::Lease& lease = held.response.lease();
  std::cout << Nanoseconds(lease.acquire_time()).count() << ' ' << lease.backend_pid() << std::endl;
  for (;;) pause();
}
