// The PostgreSQL that all tests of one executable run on, and what its own log says.
#pragma once

#include <memory>
#include <string>

#include "server/postgres/embedded_server.h"
#include "tests/system/support/observer.h"

namespace pglessor::system {

class Database {
 public:
  // Started by the first test that asks, ended with the process. Aborts the process if it does not start.
  static Database& Get();

  // Role app, database app: what pglessor leases.
  std::string dsn() const { return server_->dsn(); }
  // The superuser's, for pglessor's control connection.
  std::string control_dsn() const { return server_->control_dsn(); }
  Observer& observer() { return *observer_; }

  // Lines of PostgreSQL's own log that contain `text`.
  int LogLines(const std::string& text) const;

  // A table `name` of role app with these columns, empty.
  void MakeTable(const std::string& name, const std::string& columns);

 private:
  Database();

  std::unique_ptr<postgres::EmbeddedServer> server_;
  std::unique_ptr<Observer> observer_;
};

}  // namespace pglessor::system
