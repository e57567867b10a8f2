// A holder to be killed: takes a lease on the server at argv[1] for argv[2] milliseconds, and then is what
// argv[3] says until its end:
//   idle         has left something of every kind in its session
//   transaction  the same, and a transaction open
//   statement    the same, and a statement running
//   swallower    the same, and the statement does not let itself be cancelled
//   reader       the same, and of the statement's many rows it reads the first only
//   waiter       asks with the request_id argv[4], and has not got it yet
//   session      holds it by a Session stream, with a transaction open; its ttl is the server's
// What it does is done once it has said so on stdout.
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "tests/system/support/client.h"
#include "tests/system/support/session_stream.h"

namespace {

// What the test needs to know: since when, and on which backend.
void Say(const pglessor::v1::Lease& lease) {
  std::cout << pglessor::system::Nanoseconds(lease.acquire_time()).count() << ' ' << lease.backend_pid()
            << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace pglessor::system;  // NOLINT(google-build-using-namespace): a main and no more
  if (argc < 4) return 2;
  const std::string kind = argv[3];
  Client client(argv[1]);
  if (kind == "session") {
    SessionStream session(client);
    const pglessor::v1::Lease lease = session.Begin();
    if (!session.Run("BEGIN").ok() || !session.Run("INSERT INTO deeds VALUES ('unfinished')").ok()) return 1;
    Say(lease);
    for (;;) pause();
  }
  pglessor::v1::AcquireRequest request = AcquireFor(std::chrono::milliseconds(std::atoi(argv[2])));
  if (argc > 4) request.set_request_id(argv[4]);
  const auto held = client.Acquire(request);
  if (!held.ok()) return 1;
  std::vector<std::string> statements = {"CREATE TEMP TABLE remains (x int)", "SET work_mem = '77MB'",
                                         "SET search_path = pg_catalog", "SELECT pg_advisory_lock(4711)"};
  if (kind != "idle") {
    statements.emplace_back("BEGIN");
    statements.emplace_back("INSERT INTO public.deeds VALUES ('unfinished')");
  }
  const std::string& token = held.response.lease_token();
  for (const std::string& sql : statements) {
    const Result result = client.Execute(token, sql);
    if (!result.ok()) {
      std::cerr << sql << ": " << result.status.error_message() << std::endl;
      return 1;
    }
  }
  Say(held.response.lease());
  if (kind == "statement") client.Execute(token, "SELECT pg_sleep(600)");
  if (kind == "swallower") {
    client.Execute(token,
                   "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(600); "
                   "EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$");
  }
  if (kind == "idle" || kind == "transaction") {
    for (;;) pause();
  }
  const Client::Context context = Client::NewContext();
  const auto reader = client.sql().Execute(
      context.get(), Statement(token, "SELECT repeat('x', 1000), generate_series(1, 10000000)"));
  pglessor::v1::ExecuteResponse part;
  reader->Read(&part);
  for (;;) pause();
}
