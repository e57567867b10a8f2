#include "server/postgres/folder_lock.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace pglessor::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// More than a watcher takes (4.5 s, and the removal of a folder).
constexpr milliseconds kWatcherPatience(6000);
// flock() has no time limit of its own.
constexpr milliseconds kRetryAfter(10);

bool TryLock(const FileDescriptor& file) {
  while (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

// 0 = not written yet.
pid_t OwnerNamedIn(const FileDescriptor& file) {
  char text[32];
  const ssize_t size = pread(file.get(), text, sizeof(text), 0);
  pid_t owner = 0;
  if (size <= 0 || !absl::SimpleAtoi(absl::string_view(text, size), &owner)) return 0;
  return owner;
}

// A zombie, whose parent has not looked yet, has ended too: its locks are gone.
bool HasEnded(pid_t owner) {
  if (owner <= 0) return false;
  std::ifstream file(absl::StrCat("/proc/", owner, "/stat"));
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  const size_t name_end = stat.rfind(") ");
  return name_end == std::string::npos || stat.compare(name_end + 2, 1, "Z") == 0;
}

absl::Status InUse(const std::string& path, pid_t owner) {
  return absl::FailedPreconditionError(
      absl::StrCat(path, " is locked: the folder is in use by another pglessor (process ", owner, ")"));
}

}  // namespace

absl::StatusOr<FileDescriptor> TakeFolderLock(const std::string& path, LockFile file) {
  const int make = file == LockFile::kMadeIfAbsent ? O_CREAT : 0;
  FileDescriptor lock(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | make, 0600));
  if (!lock.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));

  const steady_clock::time_point deadline = steady_clock::now() + kWatcherPatience;
  while (!TryLock(lock)) {
    const pid_t owner = OwnerNamedIn(lock);
    if (!HasEnded(owner) || steady_clock::now() >= deadline) return InUse(path, owner);
    std::this_thread::sleep_for(kRetryAfter);
  }
  struct stat found = {};
  if (fstat(lock.get(), &found) != 0 || found.st_nlink == 0) {
    return absl::NotFoundError(absl::StrCat(path, " was removed meanwhile"));
  }
  const std::string owner = absl::StrCat(getpid(), "\n");
  if (ftruncate(lock.get(), 0) != 0 ||
      pwrite(lock.get(), owner.data(), owner.size(), 0) != static_cast<ssize_t>(owner.size())) {
    return absl::ErrnoToStatus(errno, absl::StrCat("write ", path));
  }
  return lock;
}

absl::StatusOr<FileDescriptor> LockBriefly(const std::string& folder, milliseconds patience) {
  FileDescriptor lock(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open ", folder));
  const steady_clock::time_point deadline = steady_clock::now() + patience;
  while (!TryLock(lock)) {
    if (steady_clock::now() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat("another process keeps ", folder, " locked"));
    }
    std::this_thread::sleep_for(kRetryAfter);
  }
  return lock;
}

}  // namespace pglessor::postgres
