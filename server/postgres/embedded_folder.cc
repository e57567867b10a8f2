#include "server/postgres/embedded_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "server/postgres/folder_lock.h"
#include "server/postgres/postgres_processes.h"

namespace pglessor::postgres {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kPrefix = "pglessor-pg-";
constexpr absl::string_view kRandom = "XXXXXX";  // for mkdtemp
constexpr char kLockFile[] = "/pglessor.lock";
constexpr char kTemporaryLockFile[] = "/temporary.lock";
constexpr absl::string_view kSocketFile = "/socket/.s.PGSQL.5432";
constexpr size_t kMaxSocketPath = 107;  // sockaddr_un::sun_path with its final zero
constexpr std::chrono::seconds kFolderLockPatience(10);

bool WeAreRoot() { return geteuid() == 0; }

// As root, PostgreSQL's user must get through the folder, though not list it.
mode_t FolderMode() { return WeAreRoot() ? 0711 : 0700; }

absl::Status FromErrorCode(const std::error_code& error, absl::string_view what) {
  return absl::ErrnoToStatus(error.value(), what);
}

// `remedy` names the user's folder, to whose path `folder` adds `added` bytes.
absl::Status CheckSocketPath(const std::string& folder, absl::string_view remedy, size_t added) {
  if (absl::StrContains(folder, ',')) {  // for libpq it separates two hosts, and nothing escapes it
    return absl::InvalidArgumentError(
        absl::StrCat("PostgreSQL's clients cannot name a socket whose path has a comma, as ", folder,
                     " has: ", remedy, " a folder without one in its path"));
  }
  const size_t size = folder.size() + kSocketFile.size();
  if (size <= kMaxSocketPath) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the path of PostgreSQL's socket, ", folder, kSocketFile, ", has ", size,
      " bytes, and a socket's has at most ", kMaxSocketPath, ": ", remedy,
      " a folder whose path has at most ", kMaxSocketPath - kSocketFile.size() - added, " bytes"));
}

absl::StatusOr<std::string> TemporaryParent() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here changes the environment
  const char* set = getenv("TMPDIR");
  const std::string parent = set != nullptr && *set != '\0' ? set : "/tmp";
  std::error_code error;
  const fs::path canonical = fs::canonical(parent, error);
  if (error) return FromErrorCode(error, absl::StrCat("the folder for temporary files, ", parent));
  return canonical.string();
}

absl::StatusOr<FileDescriptor> OpenFolder(const std::string& path) {
  FileDescriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open the folder ", path));
  return folder;
}

// Makes it if it is not there. Without a user it stays ours.
absl::Status MakeFolder(const std::string& path, const std::optional<SystemUser>& user) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(errno, absl::StrCat("make the folder ", path));
  }
  const absl::StatusOr<FileDescriptor> folder = OpenFolder(path);
  if (!folder.ok()) return folder.status();
  if (user.has_value() && fchown(folder->get(), user->uid, user->gid) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("give ", path, " to the user ", user->name));
  }
  return absl::OkStatus();
}

absl::Status RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? FromErrorCode(error, absl::StrCat("remove ", path)) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<EmbeddedFolder> EmbeddedFolder::MakeTemporary() {
  const absl::StatusOr<std::string> parent = TemporaryParent();
  if (!parent.ok()) return parent.status();
  const std::string name = absl::StrCat("/", kPrefix, kRandom);
  std::string path = *parent + name;
  absl::Status short_enough = CheckSocketPath(path, "set TMPDIR to", name.size());
  if (!short_enough.ok()) return short_enough;

  // Until it has its lock, a sweep must not take the new folder for a leftover.
  const absl::StatusOr<FileDescriptor> no_sweep = LockBriefly(*parent, kFolderLockPatience);
  if (!no_sweep.ok()) return no_sweep.status();
  if (mkdtemp(path.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("make a temporary folder in ", *parent));
  }
  absl::StatusOr<FileDescriptor> lock = TakeFolderLock(path + kTemporaryLockFile, LockFile::kMadeIfAbsent);
  if (!lock.ok()) return lock.status();
  if (chmod(path.c_str(), FolderMode()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("set the mode of ", path));
  }
  return EmbeddedFolder(std::move(path), *std::move(lock), /*temporary=*/true);
}

absl::StatusOr<EmbeddedFolder> EmbeddedFolder::Claim(const std::string& directory) {
  std::error_code error;
  std::string path = fs::weakly_canonical(fs::absolute(directory, error), error).string();
  if (error) return FromErrorCode(error, directory);
  if (path.size() > 1 && path.back() == '/') path.pop_back();
  absl::Status short_enough = CheckSocketPath(path, "name", 0);
  if (!short_enough.ok()) return short_enough;

  const bool made = mkdir(path.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) {
    return absl::ErrnoToStatus(errno, absl::StrCat("make the folder ", path));
  }
  const bool empty = fs::is_empty(path, error);
  if (error) return FromErrorCode(error, absl::StrCat("look into ", path));
  if (!fs::is_directory(path, error)) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is not a folder"));
  }
  if (!empty && !fs::is_regular_file(fs::symlink_status(path + kLockFile, error))) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is neither empty nor made by pglessor: it has no ", kLockFile + 1,
                     ". Name an empty folder, or one that does not exist"));
  }
  absl::StatusOr<FileDescriptor> lock = TakeFolderLock(path + kLockFile, LockFile::kMadeIfAbsent);
  if (!lock.ok()) return lock.status();
  // The lock says nothing of a PostgreSQL that was started by hand.
  const std::vector<pid_t> running = PostgresProcessesIn(path + "/data");
  if (!running.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("a PostgreSQL that is not ours runs in ", path,
                                                      "/data (process ", running.front(), ")"));
  }
  if (empty && chmod(path.c_str(), FolderMode()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("set the mode of ", path));
  }
  return EmbeddedFolder(std::move(path), *std::move(lock), /*temporary=*/false);
}

absl::Status EmbeddedFolder::MakeSubfolders(const std::optional<SystemUser>& user) const {
  // What an interrupted initdb, or a PostgreSQL that was killed, has left in these is of no use.
  // With its socket's lock file it would even mistake an unrelated process for a PostgreSQL that
  // still runs.
  for (const std::string& stale : {new_data(), socket()}) {
    absl::Status removed = RemoveTree(stale);
    if (!removed.ok()) return removed;
  }
  absl::Status made = MakeFolder(log(), std::nullopt);
  if (made.ok()) made = MakeFolder(socket(), user);
  if (made.ok() && !DataVersion().has_value()) made = MakeFolder(new_data(), user);
  return made;
}

std::optional<std::string> EmbeddedFolder::DataVersion() const {
  std::string version;
  if (!(std::ifstream(data() + "/PG_VERSION") >> version)) return std::nullopt;
  return version;
}

std::vector<std::string> EmbeddedFolder::RemovalOrder() const {
  return {new_data(), data(), socket(), log(), hba_file(), ident_file(), path_};
}

absl::Status EmbeddedFolder::GiveBack() {
  if (temporary_) {
    for (const std::string& part : RemovalOrder()) {
      absl::Status removed = RemoveTree(part);
      if (!removed.ok()) return removed;
    }
  }
  lock_.Close();
  return absl::OkStatus();
}

void EmbeddedFolder::SweepLeftovers() {
  const absl::StatusOr<std::string> parent = TemporaryParent();
  if (!parent.ok()) return;
  // With it, every folder that the list below has is either locked by its maker or a leftover.
  absl::StatusOr<FileDescriptor> nothing_is_made = LockBriefly(*parent, kFolderLockPatience);
  if (!nothing_is_made.ok()) return;
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(*parent, error), last; entry != last; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!absl::StartsWith(name, kPrefix) || name.size() != kPrefix.size() + kRandom.size()) continue;
    struct stat folder = {};
    if (lstat(entry->path().c_str(), &folder) != 0 || !S_ISDIR(folder.st_mode)) continue;
    if (folder.st_uid != geteuid()) continue;
    if (fs::is_regular_file(fs::symlink_status(entry->path().string() + kTemporaryLockFile, error))) {
      found.push_back(entry->path().string());
    } else {
      rmdir(entry->path().c_str());  // its maker was killed before the lock; fails unless it is empty
    }
  }
  nothing_is_made->Close();
  for (const std::string& path : found) SweepOne(path);
}

void EmbeddedFolder::SweepOne(const std::string& path) {
  absl::StatusOr<FileDescriptor> lock = TakeFolderLock(path + kTemporaryLockFile, LockFile::kExists);
  if (!lock.ok()) return;  // in use
  if (!EndPostgresProcessesIn(path).ok()) return;
  // What cannot be removed now stays a leftover, for the next sweep.
  EmbeddedFolder(path, *std::move(lock), /*temporary=*/true).GiveBack().IgnoreError();
}

}  // namespace pglessor::postgres
