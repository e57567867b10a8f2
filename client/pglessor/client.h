// A caller of one pglessor server (or of several behind one address).
//
//   absl::StatusOr<pglessor::Client> client = pglessor::Client::Create({.address = "127.0.0.1:7432"});
//   absl::StatusOr<pglessor::Lease> lease = client->Acquire({.holder = "billing"});
//   absl::StatusOr<pglessor::Result> fruit = lease->Execute("SELECT * FROM fruit WHERE grams > $1", 100);
//
// One Client for the whole process is right: its connection is shared, and one background thread renews and
// releases the leases of all threads. Calls on a lease go to the replica that granted it, by the address that
// the lease names (the server's --advertise). Where that one cannot be reached from here, Acquire succeeds
// and everything after it fails with UNAVAILABLE: then the server advertises the wrong address.
//
// Threads: any may call Acquire, at once; moving and destroying need the client for themselves.
// Owns: the connections and the background thread. The destructor releases the leases that still live (they
// are lost() from then on) and waits until the server has heard of it, at most `call_timeout`.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "pglessor/acquire_options.h"
#include "pglessor/lease.h"
#include "pglessor/result.h"
#include "pglessor/session.h"
#include "pglessor/statement.h"
#include "pglessor/value.h"

namespace pglessor {

namespace internal {
class Runtime;
}  // namespace internal

// Paths of PEM files, read once, when the client is created.
struct ClientTls {
  std::string ca = {};    // who vouches for the servers; empty = whom this machine trusts
  std::string cert = {};  // the client's own chain, by which servers may know it; empty = none
  std::string key = {};   // of the certificate
};

struct ClientOptions {
  // HOST:PORT or unix:PATH.
  std::string address = {};
  // Unset: plain text, as it always is on unix sockets. The names that the servers advertise must be in their
  // certificates.
  std::optional<ClientTls> tls = {};
  // By which servers know the caller. It goes with each call, also where there is no TLS to hide it: to the
  // address above, and to those that its leases name.
  std::string bearer_secret = {};
  // What an Acquire does not say itself.
  AcquireOptions acquire = {};
  // The longest that a call which does not wait for anything may take: Release, and a rollback by destructor.
  std::chrono::nanoseconds call_timeout = std::chrono::seconds(5);
};

class Client {
 public:
  // Connects to nothing yet: a server that is not there shows in Acquire.
  // Fails with: INVALID_ARGUMENT (no address, a file that cannot be read, a secret that is none),
  // RESOURCE_EXHAUSTED (no thread to be had).
  static absl::StatusOr<Client> Create(ClientOptions options);

  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // Leases a connection; waits its turn for one, at most `wait_timeout`.
  // Fails with: what the server says (see ErrorReason), UNAVAILABLE without a reason where it cannot be
  // reached, DEADLINE_EXCEEDED where `timeout` ran out first.
  absl::StatusOr<Lease> Acquire(const AcquireOptions& options = {});

  // Runs one statement on a lease that begins and ends with it: one round trip instead of three. It commits
  // by itself, and the session that it ran in is not seen again.
  // Fails with: as Acquire and Lease::Execute. UNKNOWN `COMMIT_OUTCOME_UNKNOWN` wherever its answer was lost:
  // look before you repeat it.
  template <typename... Params>
  absl::StatusOr<Result> Once(absl::string_view sql, Params&&... params) {
    return Once(Statement(std::string(sql), {Value(std::forward<Params>(params))...}));
  }
  // With `ttl` it is cut off then; without, it takes as long as it takes. `Statement::timeout` is the call's
  // deadline, the wait for a connection included.
  absl::StatusOr<Result> Once(const Statement& statement, const AcquireOptions& options = {});

  // A stream for leases and statements one after another. Connects to nothing yet.
  absl::StatusOr<Session> NewSession();

 private:
  explicit Client(std::unique_ptr<internal::Runtime> runtime);

  std::unique_ptr<internal::Runtime> runtime_;  // null after a move
};

}  // namespace pglessor
