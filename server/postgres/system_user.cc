#include "server/postgres/system_user.h"

#include <pwd.h>
#include <unistd.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace pglessor::postgres {
namespace {

constexpr size_t kMaxEntry = 65536;  // of the password file: more than any has

// `look_up` is getpwnam_r or getpwuid_r but for its key.
template <typename LookUp>
absl::StatusOr<SystemUser> Find(const std::string& who, const LookUp& look_up) {
  std::vector<char> space(kMaxEntry);
  passwd entry = {};
  passwd* found = nullptr;
  const int error = look_up(&entry, space.data(), space.size(), &found);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("look up the system user ", who));
  if (found == nullptr) return absl::NotFoundError(absl::StrCat("there is no system user ", who));
  return SystemUser{.name = entry.pw_name, .uid = entry.pw_uid, .gid = entry.pw_gid};
}

}  // namespace

absl::StatusOr<SystemUser> SystemUserNamed(const std::string& name) {
  return Find(name, [&name](passwd* entry, char* space, size_t size, passwd** found) {
    return getpwnam_r(name.c_str(), entry, space, size, found);
  });
}

absl::StatusOr<SystemUser> CurrentSystemUser() {
  const uid_t uid = geteuid();
  return Find(absl::StrCat("number ", uid), [uid](passwd* entry, char* space, size_t size, passwd** found) {
    return getpwuid_r(uid, entry, space, size, found);
  });
}

}  // namespace pglessor::postgres
