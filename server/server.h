// The composition root: builds every part, starts it, drains it and stops it, in one visible order.
#pragma once

#include "server/config.h"
#include "server/ops/log.h"
#include "server/reload.h"

namespace pglessor {

// Runs until a drain has ended: SIGTERM or SIGINT begins it, a second one ends everything at once. Where
// there is a configuration file, SIGHUP reads it again. Returns the exit status: 0 after a drain, 1 after a
// failure or a second signal. Threads: call it first thing, before any other thread exists: it blocks those
// signals for all of them.
int RunServer(const Config& config, const ReadConfig& reread, const ops::Log& log);

}  // namespace pglessor
