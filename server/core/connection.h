// The ports to PostgreSQL: what the core asks of a connection and of whoever opens one.
//
// server/postgres implements them for real; tests implement them in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "server/core/ids.h"
#include "server/core/statement.h"

namespace pglessor::core {

// One PostgreSQL backend connection. All its bytes are written on its *strand*: one sequence of steps,
// never two at once.
//
// Threads: every member may be called from any thread; none blocks. Callbacks come on the strand, with no
//   lock held, and each exactly once.
// Owns: the socket. Destroying a connection that was not closed closes it.
class Connection {
 public:
  using Callback = absl::AnyInvocable<void()>;

  struct FenceReport {
    bool transaction_was_open = false;
  };

  // Whether the connection may be lent again, or a sentence that says why not.
  using CleanReport = absl::Status;

  struct CloseCallbacks {
    Callback gone;   // PostgreSQL has let go of the backend: its slot is free
    Callback stuck;  // not gone in time: it keeps its slot, and `gone` comes if it ever goes. At most once
  };

  virtual ~Connection() = default;

  virtual int32_t backend_pid() const = 0;

  // True for ever once the backend is known to be dead. Set before Connector's `lost` is called.
  virtual bool lost() const = 0;

  // Runs one statement; at most one at a time (the lease's permit sees to that). `sink` is kept until its
  // OnEnd has returned. A statement of a lease that was fenced, or of an older one, is not sent: it took
  // its permit in time and comes here too late, perhaps when the next holder has the connection already.
  virtual void Execute(StatementKey key, Statement statement, std::shared_ptr<StatementSink> sink) = 0;

  // Asks PostgreSQL to cancel that statement, again and again until it ends; nothing if it has ended.
  // PostgreSQL sees no cancel while it waits for its rows to be taken: resume them too.
  virtual void Cancel(StatementKey key) = 0;

  // After Flow::kPause: rows are wanted again. Nothing if that statement has ended.
  virtual void ResumeRows(StatementKey key) = 0;

  // Takes the connection from the holder of `lease`. `fenced`: nothing of him reaches PostgreSQL any more;
  // a running statement has got its OnEnd. Then cancels what still runs and awaits it, rolls back,
  // discards the session's state, verifies: `cleaned`.
  virtual void Clean(LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced,
                     absl::AnyInvocable<void(CleanReport)> cleaned) = 0;

  // As the first half of Clean, for a connection that is to be closed and need not be clean.
  virtual void Fence(LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced) = 0;

  // Asks the backend for a sign of life. Requires: no lease has the connection, and none gets it before
  // `probed`.
  virtual void Probe(absl::AnyInvocable<void(CleanReport)> probed) = 0;

  // Breaks it off in both directions, as a network does that fails: it is found to be lost. Its backend may
  // live on for a while. For faults on purpose.
  virtual void Cut() = 0;

  // Ends the backend, by force where it does not go by itself, and confirms that it has gone.
  virtual void Close(CloseCallbacks callbacks) = 0;
};

// Opens connections to one database.
class Connector {
 public:
  using Opened = absl::AnyInvocable<void(absl::StatusOr<std::shared_ptr<Connection>>)>;

  struct OpenRequest {
    Duration timeout{};
    std::string role;  // logs in as this PostgreSQL role; empty = as the pool's own
  };

  virtual ~Connector() = default;

  // Threads: any thread may call; it does not block. `opened` comes exactly once, later, on the new
  //   connection's strand, within the timeout or soon after. `lost` comes at most once, if the backend dies
  //   after `opened` brought it and before Close was called for it.
  // Fails with: UNAVAILABLE (no server, starting up, timed out), FAILED_PRECONDITION with reason
  //   DATABASE_AUTH_FAILED (it refuses our credentials), RESOURCE_EXHAUSTED (too many connections, 53300).
  virtual void Open(const OpenRequest& request, Opened opened, Connection::Callback lost) = 0;
};

// Where a pool's fencing tokens come from: blocks of numbers that are unique in one PostgreSQL cluster
// and rise, across our restarts and its crashes.
class FencingSource {
 public:
  struct Block {
    uint64_t first = 0;
    uint64_t count = 0;
  };
  // False: it wants no more, and is told of none.
  using Taken = absl::AnyInvocable<bool(Block)>;

  virtual ~FencingSource() = default;

  // Threads: as Connector's. `taken` gets every block, never inside a call: one as soon as the database
  //   can be asked, one for each TakeBlock, and one whenever the database was out of reach and is back
  //   (who knows what it forgot).
  virtual void Subscribe(Taken taken) = 0;
  virtual void TakeBlock() = 0;
};

}  // namespace pglessor::core
