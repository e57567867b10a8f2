// A PostgreSQL of one test's own, which may do to it what befalls servers: restart it, kill a backend, stop
// its postmaster. It has no port, and its folder goes with it.
//
// Its postmaster is our child, by an own initdb: nothing here can reach another server. It ends with the
// test, also where that was killed.
//
// Threads: used by the one thread that made it.
#pragma once

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "tests/system/support/observer.h"
#include "tests/system/support/process.h"
#include "tests/system/support/temporary_folder.h"

namespace pglessor::system {

class OwnPostgres {
 public:
  // As by pg_ctl -m.
  enum class Shutdown { kFast, kImmediate };

  struct StandbyOf {
    OwnPostgres& primary;
  };

  // Started, with role and database app. Aborts the process if that fails.
  OwnPostgres();
  // One that streams from another, which runs; started. As above.
  explicit OwnPostgres(StandbyOf of);
  ~OwnPostgres();
  OwnPostgres(const OwnPostgres&) = delete;
  OwnPostgres& operator=(const OwnPostgres&) = delete;

  // Role app, database app: what pglessor leases. The other is the superuser's.
  std::string dsn() const { return Dsn("app", "app"); }
  std::string control_dsn() const { return Dsn("postgres", "app"); }
  // The folder of its socket, as a DSN's host.
  const std::string& folder() const { return place_; }
  // The file of its socket.
  std::string socket() const { return place_ + "/.s.PGSQL.5432"; }
  // It has asserted SHOW data_directory. Not across an outage: a new one after each.
  Observer& observer() { return *observer_; }

  // Returns when it has ended.
  void Stop(Shutdown how);
  // Returns when it accepts.
  void Start();
  // kill -9 of one backend, which makes PostgreSQL end all of them. Returns when it has recovered.
  void KillBackend(int backend_pid);
  // Of the postmaster: sessions go on, new ones hang.
  [[nodiscard]] bool Freeze() { return postmaster_->Freeze(); }
  void Thaw() { postmaster_->Thaw(); }
  // Of a standby: returns when it has replayed all that `primary` has written up to now.
  void AwaitReplay(OwnPostgres& primary);
  // Of a standby: returns when it is a primary.
  void Promote();

 private:
  std::string Dsn(const std::string& user, const std::string& database) const;
  // `program` of PostgreSQL's with these arguments, as the user that it wants to be.
  Process::Command Command(const std::string& program, const std::vector<std::string>& arguments) const;
  void MakePlace();
  // A program that is to end well.
  void Finish(const Process::Command& command);
  void Run();
  void AwaitAccepts(const std::string& database);
  void Observe();

  TemporaryFolder folder_;
  const std::string place_;  // data and socket, of PostgreSQL's user
  std::unique_ptr<Process> postmaster_;
  std::unique_ptr<Observer> observer_;
};

}  // namespace pglessor::system
