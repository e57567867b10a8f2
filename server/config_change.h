// What a file that is read again changes, and what of that needs a restart.
#pragma once

#include <string>
#include <vector>

#include "server/config.h"

namespace pglessor {

struct ConfigChange {
  std::vector<PoolConfig> added;
  std::vector<std::string> removed;  // by name, those that have a primary first
  // Of pools that were there before and are still; the rest of such a pool stays as it is.
  std::vector<PoolConfig> limits;  // other options
  std::vector<PoolConfig> moved;   // another DSN, validation, or password of a role
  // Keys whose change takes effect at the next start only: "listen", "pools.orders".
  std::vector<std::string> needs_restart;

  // The pools once all that is done: those of the file, but for what of them needs a restart.
  std::vector<PoolConfig> pools;
};

// `before` is what is: its pools as the last change says.
ConfigChange Compare(const Config& before, const Config& after);

}  // namespace pglessor
