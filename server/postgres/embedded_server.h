// A private PostgreSQL that we start, own and end: what --embedded gives, and what tests run on.
//
// It is reached only by a socket that its own user, and root, can reach; it has no TCP port. There
// the role `app` needs no password and reaches its database alone; the superuser is whoever the
// operating system says that we are (peer), so that what has only an SQL connection as `app` cannot
// become it.
//
//   run by root        PostgreSQL, which refuses to be root, runs as the user postgres
//   run by another     as that one
//
// Its end: Stop, the destructor, or within 5 s of our own end, whatever ended us (owner_watcher.h).
// A temporary one takes its folder with it (embedded_folder.h).
//
// Threads: used by one at a time.
// Cost: Start blocks for about a second (half of it initdb), Stop for about 0.05 s; at most some 30
// s and 10 s.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "server/postgres/embedded_folder.h"
#include "server/postgres/owner_watcher.h"

namespace pglessor::postgres {

struct EmbeddedOptions {
  std::string directory = {};  // empty = a temporary folder
  int max_connections = 100;   // role app gets so many at least; the superuser's come on top
  std::string log_file = {};   // empty = log/postgresql.log in its folder
};

struct Program;

class EmbeddedServer {
 public:
  // One that accepts connections, with the role and the database in place.
  //   InvalidArgument     no socket can have the folder's path, or max_connections is below 1
  //   NotFound            PostgreSQL or its system user is not installed
  //   FailedPrecondition  the folder is in use or holds what is not ours, and is left untouched
  //   Internal            initdb or PostgreSQL failed; with the end of its log
  static absl::StatusOr<std::unique_ptr<EmbeddedServer>> Start(const EmbeddedOptions& options);

  ~EmbeddedServer();
  EmbeddedServer(const EmbeddedServer&) = delete;
  EmbeddedServer& operator=(const EmbeddedServer&) = delete;

  // Ends it as a clean shutdown, which cuts all connections; harsher if that takes longer than 5 s.
  // May be repeated. Afterwards the names below lead nowhere.
  absl::Status Stop();

  std::string dsn() const;          // role app, database app
  std::string control_dsn() const;  // the superuser, database app
  pid_t postmaster_pid() const { return postmaster_; }
  const std::string& data_directory() const { return data_; }
  const std::string& log_file() const { return log_file_; }

 private:
  EmbeddedServer(EmbeddedFolder folder, std::string log_file);

  absl::Status Run(const EmbeddedOptions& options);
  absl::Status MakeData(const Program& initdb);
  absl::Status WaitUntilItAccepts() const;
  absl::Status WithLog(const absl::Status& status) const;

  EmbeddedFolder folder_;
  const std::string data_;
  const std::string log_file_;
  off_t log_start_ = 0;                    // where this run's lines begin
  std::unique_ptr<OwnerWatcher> watcher_;  // null once stopped
  pid_t postmaster_ = 0;
};

}  // namespace pglessor::postgres
