// Opens one connection on the event loop: connects without blocking, and asks the backend who it
// is.
#pragma once

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "server/executor/event_loop.h"
#include "server/postgres/backend.h"

namespace pglessor::postgres {

struct Address {
  std::string dsn;               // a URI or key=value pairs, as libpq takes them
  std::string application_name;  // what pg_stat_activity shows
  // Logs in as this role instead of the DSN's. Empty = as the DSN says.
  std::string role = {};
  std::string password = {};
};

// What is wrong with a DSN, without trying it. Never quotes it: it may hold a password.
absl::Status CheckDsn(absl::string_view dsn);

using BackendOpened = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Backend>>)>;

// Threads: the loop's only; `opened` comes on it, exactly once, later.
// Time: `timeout` spans all of it. A host's name is looked up by libpq, which blocks: an address or
// a socket
//   path never does.
// Fails with: see OpenError; UNAVAILABLE after the timeout.
void OpenBackend(executor::EventLoop& loop, const Address& address, core::Duration timeout,
                 BackendOpened opened);

}  // namespace pglessor::postgres
