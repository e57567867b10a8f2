// What SIGHUP does: reads the configuration again and takes over what has changed.
//
// A bad file changes nothing: each fault is a line of the log. A pool that is as it was keeps all it has.
//
// Threads: one uses it. Outlives whatever runs the pools' loop.
#pragma once

#include <functional>
#include <string>

#include "server/config.h"
#include "server/core/lessor.h"
#include "server/ops/log.h"
#include "server/pool_edges.h"
#include "server/rpc/rpc_server.h"

namespace pglessor {

// The command line, its environment and its file, read anew.
using ReadConfig = std::function<CommandLine()>;

// Whom it tells of what has changed.
struct Reloaded {
  core::Lessor& lessor;
  PoolEdges& edges;
  rpc::RpcServer& rpc;
};

class Reload {
 public:
  // `config` is what the server was started with. The others outlive it.
  Reload(Config config, ReadConfig read, Reloaded reloaded, const ops::Log& log);

  void Run();

  // As it was read last, without fault; but for its pools, which are as they are.
  const Config& config() const { return config_; }

 private:
  void TakeOver(const Config& config);
  void Remove(const std::string& pool, core::Duration timeout);

  Config config_;
  const ReadConfig read_;
  const Reloaded reloaded_;
  const ops::Log& log_;
};

}  // namespace pglessor
