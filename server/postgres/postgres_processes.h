// The PostgreSQL processes that work inside a folder, whoever started them.
//
// Found by their program and working folder, not by postmaster.pid: that file may name a process
// that has ended and whose number somebody else has by now, and it names no backends.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace pglessor::postgres {

// Those that we may look at: all for root, else our own. `folder` must be canonical.
std::vector<pid_t> PostgresProcessesIn(const std::string& folder);

// Blocks until they have ended, at most 5 s; then DeadlineExceeded.
absl::Status EndPostgresProcessesIn(const std::string& folder);

}  // namespace pglessor::postgres
