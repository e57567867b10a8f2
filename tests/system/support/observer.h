// PostgreSQL as an independent eye sees it: a connection of the test's own, around pglessor.
//
// Threads: used by one at a time.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <string>
#include <vector>

namespace pglessor::system {

class Observer {
 public:
  // Fails the test if it cannot connect, or not to the server of `data_directory`: it kills backends, and
  // must not do so on somebody else's server.
  Observer(const std::string& dsn, const std::string& data_directory);

  // PostgreSQL's text of each value; NULL as "NULL". A failed statement fails the test.
  std::vector<std::vector<std::string>> Rows(const std::string& sql) const;
  // Of an answer of one value; empty if there is no row.
  std::string Value(const std::string& sql) const;
  int Count(const std::string& sql) const;
  void Run(const std::string& sql) const { Rows(sql); }

  // Of pg_stat_activity: the backend's `column`, empty if there is no such backend.
  std::string Activity(int backend_pid, const std::string& column) const;
  // How many backends pglessor has, its control connection included.
  int PglessorBackends() const;

  // Waits until the backend runs a statement that contains `sql`.
  bool AwaitRunning(int backend_pid, const std::string& sql) const;
  // Waits until its statement is inside pg_sleep.
  bool AwaitAsleep(int backend_pid) const;
  bool AwaitIdle(int backend_pid) const;
  bool AwaitGone(int backend_pid) const;
  // As by an administrator.
  void Terminate(int backend_pid) const;

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  std::unique_ptr<PGconn, Finish> connection_;
};

}  // namespace pglessor::system
