// The pools that the configuration file names: [pools.NAME], and their tenants' limits in
// [pools.NAME.tenants.TENANT].
#pragma once

#include "server/config.h"
#include "server/config_table.h"

namespace pglessor {

// Every limit by itself, and those that contradict one another, in one pool or among several.
void ReadPools(ConfigTable& root, Config& config);

}  // namespace pglessor
