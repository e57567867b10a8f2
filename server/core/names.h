// What pools, tenants and identities may be called.
#pragma once

#include "absl/strings/string_view.h"

namespace pglessor::core {

// [a-z0-9][a-z0-9._-]{0,62}
bool IsName(absl::string_view text);

// The user name by which a lease's token logs in at the gateway.
inline constexpr char kReservedTenant[] = "lease";

// A name, and not the reserved one.
bool IsTenant(absl::string_view text);

}  // namespace pglessor::core
