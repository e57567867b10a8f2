// A user of the operating system.
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"

namespace pglessor::postgres {

struct SystemUser {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

// NotFound: there is none.
absl::StatusOr<SystemUser> SystemUserNamed(const std::string& name);
absl::StatusOr<SystemUser> CurrentSystemUser();

}  // namespace pglessor::postgres
