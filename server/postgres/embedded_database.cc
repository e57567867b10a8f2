#include "server/postgres/embedded_database.h"

#include <libpq-fe.h>

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace pglessor::postgres {
namespace {

struct FinishConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Connection = std::unique_ptr<PGconn, FinishConnection>;

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ClearResult>;

// libpq ends its messages with a newline.
absl::string_view MessageOf(const Connection& connection) {
  return absl::StripSuffix(PQerrorMessage(connection.get()), "\n");
}

// A PostgreSQL that hangs must not hang us.
std::string WithTimeout(const EmbeddedLogin& login) {
  return absl::StrCat(ConnectionString(login), " connect_timeout=5");
}

absl::StatusOr<Connection> Open(const EmbeddedLogin& login) {
  Connection connection(PQconnectdb(WithTimeout(login).c_str()));
  if (PQstatus(connection.get()) == CONNECTION_OK) return connection;
  return absl::UnavailableError(absl::StrCat("connect to the embedded PostgreSQL: ", MessageOf(connection)));
}

absl::StatusOr<Result> Run(const Connection& connection, const std::string& sql) {
  Result result(PQexec(connection.get(), sql.c_str()));
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return result;
  return absl::InternalError(absl::StrCat(sql, ": ", MessageOf(connection)));
}

struct Missing {
  std::string query;    // gives a row if it is there
  std::string command;  // makes it
};

absl::Status MakeIfMissing(const Connection& connection, const Missing& thing) {
  const absl::StatusOr<Result> found = Run(connection, thing.query);
  if (!found.ok()) return found.status();
  if (PQntuples(found->get()) > 0) return absl::OkStatus();
  return Run(connection, thing.command).status();
}

}  // namespace

std::string ConnectionString(const EmbeddedLogin& login) {
  const std::string host = absl::StrReplaceAll(login.socket_folder, {{"\\", "\\\\"}, {"'", "\\'"}});
  return absl::StrCat("host='", host, "' port=5432 user=", login.role, " dbname=", login.database);
}

bool AcceptsConnections(const EmbeddedLogin& login) {
  return PQping(WithTimeout(login).c_str()) == PQPING_OK;
}

absl::Status PrepareEmbeddedDatabase(const std::string& socket_folder) {
  EmbeddedLogin login = {socket_folder, kEmbeddedSuperuser, "postgres"};
  absl::StatusOr<Connection> server = Open(login);
  if (!server.ok()) return server.status();
  absl::Status made =
      MakeIfMissing(*server, {absl::StrCat("SELECT FROM pg_roles WHERE rolname = '", kEmbeddedRole, "'"),
                              absl::StrCat("CREATE ROLE ", kEmbeddedRole, " LOGIN")});
  if (!made.ok()) return made;
  made = MakeIfMissing(*server,
                       {absl::StrCat("SELECT FROM pg_database WHERE datname = '", kEmbeddedDatabase, "'"),
                        absl::StrCat("CREATE DATABASE ", kEmbeddedDatabase)});
  if (!made.ok()) return made;

  login.database = kEmbeddedDatabase;
  absl::StatusOr<Connection> database = Open(login);
  if (!database.ok()) return database.status();
  // Since PostgreSQL 15 only the database's owner may create in it.
  return Run(*database, absl::StrCat("GRANT CREATE ON SCHEMA public TO ", kEmbeddedRole)).status();
}

}  // namespace pglessor::postgres
