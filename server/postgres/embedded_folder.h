// The folder of one embedded PostgreSQL: a temporary one, or one that the user named.
//
//   pglessor.lock        says that the folder is ours, and is locked while in use (folder_lock.h)
//     (temporary.lock)   the same in a temporary folder: only those are ever swept away
//   data/                PostgreSQL's own; data.new while initdb makes it, so that data is complete
//   socket/              0700, for the user that PostgreSQL runs as (and root)
//   log/
//   pg_hba.conf, pg_ident.conf
//
// As root all but data and socket stay root's, and PostgreSQL's user is merely let through.
//
// Leftovers: a temporary folder whose owner was killed is removed by its watcher (owner_watcher.h),
// and if that was killed too, by the next pglessor that starts: its lock is free then.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "server/postgres/file_descriptor.h"
#include "server/postgres/system_user.h"

namespace pglessor::postgres {

class EmbeddedFolder {
 public:
  // A new one in $TMPDIR or /tmp. Fails with InvalidArgument where no socket can have its path: it
  // is too long, or has a comma.
  static absl::StatusOr<EmbeddedFolder> MakeTemporary();

  // `directory` if it is absent, empty or ours. Else FailedPrecondition: it holds something that is
  // not ours, or is in use; or InvalidArgument, as above. Nothing is touched then.
  static absl::StatusOr<EmbeddedFolder> Claim(const std::string& directory);

  // Removes the temporary folders in $TMPDIR or /tmp that nobody uses, and ends what runs in them.
  // A folder that resists is left alone: it must not keep a new PostgreSQL from starting.
  static void SweepLeftovers();

  EmbeddedFolder(EmbeddedFolder&&) = default;
  EmbeddedFolder& operator=(EmbeddedFolder&&) = default;

  const std::string& path() const { return path_; }
  bool temporary() const { return temporary_; }
  int lock() const { return lock_.get(); }
  std::string data() const { return path_ + "/data"; }
  std::string new_data() const { return path_ + "/data.new"; }
  std::string socket() const { return path_ + "/socket"; }
  std::string log() const { return path_ + "/log"; }
  std::string hba_file() const { return path_ + "/pg_hba.conf"; }
  std::string ident_file() const { return path_ + "/pg_ident.conf"; }

  // Makes socket and log, and, if there is no data, an empty new_data. What `user` needs is his.
  absl::Status MakeSubfolders(const std::optional<SystemUser>& user) const;

  // The major version whose data is here, "15"; nothing if there is none.
  std::optional<std::string> DataVersion() const;

  // All that a temporary folder may hold, in the order of removal: the lock file goes with the
  // folder, last, so that what is left when a removal breaks off is still known as ours.
  std::vector<std::string> RemovalOrder() const;

  // Gives the lock back, and removes the folder if it is temporary. PostgreSQL must have ended.
  absl::Status GiveBack();

 private:
  EmbeddedFolder(std::string path, FileDescriptor lock, bool temporary)
      : path_(std::move(path)), lock_(std::move(lock)), temporary_(temporary) {}

  static void SweepOne(const std::string& path);

  std::string path_;  // canonical
  FileDescriptor lock_;
  bool temporary_;
};

}  // namespace pglessor::postgres
