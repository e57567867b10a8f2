// Who may call, as the configuration file says it: [tenants.NAME], a caller for itself alone, and
// [identities.NAME], one for several tenants or for none.
//
// A secret is hashed while it is read, and kept nowhere.
#pragma once

#include "server/config.h"
#include "server/config_table.h"

namespace pglessor {

void ReadIdentities(ConfigTable& root, Config& config);

}  // namespace pglessor
