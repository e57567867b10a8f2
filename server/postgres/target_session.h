// Which kind of server a pool leases connections of, in libpq's words.
#pragma once

namespace pglessor::postgres {

enum class TargetSession {
  kAny,
  kReadWrite,  // a primary that takes writes
  kReadOnly,   // a standby, or one that takes none
};

}  // namespace pglessor::postgres
