// One open PostgreSQL connection on the event loop: sends a query, hands out its results, never
// blocks.
//
// It knows libpq and nothing of leases. At most one query is under way; its results come to the
// listener, row by row, then OnReady. COPY is ended by us as soon as it shows: it needs a stream
// that a query's caller has not got.
//
// Threads: the loop's only.
// Owns: the connection and its socket; the destructor closes both. It must not run inside a call of
// the
//   listener's: post it.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "server/core/statement.h"
#include "server/executor/event_loop.h"
#include "server/postgres/owned_connection.h"
#include "server/postgres/statement_cache.h"

namespace pglessor::postgres {

// A backend process, as PostgreSQL itself tells one from a later one with the same pid.
struct BackendIdentity {
  int32_t pid = 0;
  int64_t start_microseconds = 0;  // pg_stat_activity.backend_start since 1970
};

class Backend {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // A row (PGRES_SINGLE_TUPLE) or the end of a statement's rows; PGRES_COPY_* once for a COPY. An
    // error that ends the connection does not come here.
    virtual void OnResult(const PGresult& result) = 0;
    // A statement that was sent to be prepared has its name now; its results follow.
    virtual void OnPrepared() {}
    // The query is done and the next may be sent.
    virtual void OnReady() = 0;
    virtual void OnNotice(const PGresult& notice) = 0;
    // The connection is dead. Once, and nothing comes after it.
    virtual void OnLost(const absl::Status& why) = 0;
  };

  // Takes over `raw`, which is open and idle.
  Backend(executor::EventLoop& loop, PGconn* raw);
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  // From now on; never null once a query is sent.
  void SetListener(Listener* listener) { listener_ = listener; }
  void SetIdentity(BackendIdentity identity) { identity_ = identity; }
  const BackendIdentity& identity() const { return identity_; }

  // One statement by the extended protocol, `way`, with the label that it may have sent along in front: as a
  // statement of its own, in a transaction of its own, but without waiting for its answer, which is nobody's.
  // Requires: idle; a COPY has no label and no name. What has a label goes unnamed.
  // Fails with: INVALID_ARGUMENT if libpq refuses it (nothing was sent then); otherwise failures
  // are lost
  //   connections and come to the listener.
  absl::Status SendStatement(const core::Statement& statement, const StatementWay& way);
  // One or more statements by the simple protocol, without parameters. Requires: idle.
  absl::Status SendSimple(const char* sql);

  // Stops and goes on taking results; PostgreSQL is slowed down, not asked to stop.
  void Pause();
  void Resume();

  // Nothing goes out any more, not even what has begun to, and nothing that comes is read; the connection is
  // then found to be lost.
  void Cut();

  bool busy() const { return busy_; }
  // Bytes of the present query that PostgreSQL's socket has not taken yet.
  bool HasUnsent() const { return unsent_; }
  bool InTransaction() const;  // open or failed; false while a query runs
  bool Idle() const;           // nothing runs and no transaction is open
  // A setting that PostgreSQL reports by itself ("client_encoding").
  std::string Parameter(const char* name) const;

 private:
  void OnNotice(const PGresult& notice);
  void OnSocket(bool readable, bool writable);
  bool SendLabel(const core::LeaseLabel& label);
  bool SendPrepare(const core::Statement& statement, const std::string& name, const std::vector<Oid>& types);
  void EndStep();
  bool TakeSync();
  void AfterSend(bool sent);
  void Flush();
  void Take();
  bool TakeCopyData();
  bool TakeResult();
  void Lose(const absl::Status& why);
  void LoseSoon(const char* why);
  void UpdateWatch();
  std::string ErrorText() const;

  executor::EventLoop& loop_;
  const OwnedConnection connection_;
  PGconn* const raw_;
  BackendIdentity identity_;
  Listener* listener_ = nullptr;
  std::unique_ptr<executor::EventLoop::Watch> watch_;  // null once lost
  bool busy_ = false;
  bool unanswered_ = false;  // nothing has come yet of what it is busy with
  bool cut_ = false;
  bool lost_ = false;  // and that has been told
  bool paused_ = false;
  bool unsent_ = false;
  bool copying_out_ = false;
  bool pipelined_ = false;  // a label, or its preparing, was sent in front of the statement
  bool labelling_ = false;  // and the label's answer is still to come
  bool preparing_ = false;  // or that to the preparing
  // Lets a posted task see that this is gone.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace pglessor::postgres
