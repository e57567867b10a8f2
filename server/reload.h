// What SIGHUP does: reads the configuration again and takes over what has changed.
//
// A bad file changes nothing: each fault is a line of the log. A pool that is as it was keeps all it has.
//
// Threads: one uses it.
#pragma once

#include <functional>

#include "server/config.h"
#include "server/core/lessor.h"
#include "server/ops/log.h"
#include "server/pool_edges.h"

namespace pglessor {

// The command line, its environment and its file, read anew.
using ReadConfig = std::function<CommandLine()>;

class Reload {
 public:
  // `config` is what the server was started with. The others outlive it.
  Reload(Config config, ReadConfig read, core::Lessor& lessor, PoolEdges& edges, const ops::Log& log);

  void Run();

  // As it was read last, without fault.
  const Config& config() const { return config_; }

 private:
  void TakeOver(const Config& config);

  Config config_;
  const ReadConfig read_;
  core::Lessor& lessor_;
  PoolEdges& edges_;
  const ops::Log& log_;
};

}  // namespace pglessor
