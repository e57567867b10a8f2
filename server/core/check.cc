#include "server/core/check.h"

#include <cstdio>
#include <cstdlib>

namespace pglessor::core {

void CheckFailed(const char* file, int line, const char* condition, const char* why) {
  std::fprintf(stderr, "%s:%d: invariant broken: %s (%s)\n", file, line, condition, why);
  std::abort();
}

}  // namespace pglessor::core
