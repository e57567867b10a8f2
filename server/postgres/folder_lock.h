// The lock that says that an embedded PostgreSQL's folder is in use. It is an flock, which ends
// with its holders however they end, on a file that names the owner's pid for whoever finds it
// taken.
//
// Its holders are the owner and the owner's watcher. So there are three cases: free = nobody is in
// there; taken by a living owner = in use; taken although its owner has ended = the watcher is
// still clearing up, which takes seconds and is worth waiting for.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"

#include "server/postgres/file_descriptor.h"

namespace pglessor::postgres {

enum class LockFile { kExists, kMadeIfAbsent };

// FailedPrecondition: in use. NotFound: there is no such file, or it was removed meanwhile.
// Blocks until a dead owner's watcher has finished, at most 6 s.
absl::StatusOr<FileDescriptor> TakeFolderLock(const std::string& path, LockFile file);

// A lock on a folder itself, for a moment: leaves nothing behind. DeadlineExceeded after
// `patience`.
absl::StatusOr<FileDescriptor> LockBriefly(const std::string& folder, std::chrono::milliseconds patience);

}  // namespace pglessor::postgres
