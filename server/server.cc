#include "server/server.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "server/advertised_address.h"
#include "server/config_warnings.h"
#include "server/core/check.h"
#include "server/core/event_history.h"
#include "server/core/fault_injection.h"
#include "server/core/lessor.h"
#include "server/core/reaper.h"
#include "server/drain.h"
#include "server/executor/boot_clock.h"
#include "server/executor/event_loop.h"
#include "server/hmac_key.h"
#include "server/ops/http_server.h"
#include "server/ops/lifecycle_log.h"
#include "server/ops/operator_pages.h"
#include "server/pool_edges.h"
#include "server/postgres/embedded_server.h"
#include "server/reload.h"
#include "server/rpc/rpc_server.h"

namespace pglessor {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kPollPeriod(10);           // while starting and draining
constexpr seconds kCloseTimeout(2);               // for PostgreSQL to let go of every connection
constexpr milliseconds kLastAnswersTimeout(500);  // for answers under way after a drain
constexpr int kSpareEmbeddedConnections = 10;     // for control, psql and the like

// SIGTERM, SIGINT and perhaps SIGHUP, taken by whoever asks instead of by a handler.
class Signals {
 public:
  enum class Hangup {
    kEnds,     // as it does by itself: the terminal has gone
    kReloads,  // AwaitOne tells of it
  };

  explicit Signals(Hangup hangup) {
    sigemptyset(&ends_);
    sigaddset(&ends_, SIGTERM);
    sigaddset(&ends_, SIGINT);
    sigaddset(&ends_, SIGRTMIN);
    all_ = ends_;
    if (hangup == Hangup::kReloads) sigaddset(&all_, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &all_, nullptr);
    // A peer that has gone shows as an error of the write.
    signal(SIGPIPE, SIG_IGN);
  }

  // True if one that ends the server came within `wait`.
  bool Came(milliseconds wait) const {
    const timespec timeout{.tv_sec = wait.count() / 1000, .tv_nsec = (wait.count() % 1000) * 1'000'000};
    return sigtimedwait(&ends_, nullptr, &timeout) > 0;
  }
  // SIGHUP, or one that ends the server.
  int AwaitOne() const {
    int which = 0;
    sigwait(&all_, &which);
    return which;
  }
  // As if one had come, for whoever waits for one. It has a number of its own, so that it is not taken for
  // one that somebody sends, and none of those for it.
  void Wake() const { kill(getpid(), SIGRTMIN); }

 private:
  sigset_t ends_;
  sigset_t all_;
};

// The loop's thread, ended with it.
class LoopThread {
 public:
  explicit LoopThread(executor::EventLoop& loop) : loop_(loop), thread_([&loop] { loop.Run(); }) {}
  ~LoopThread() {
    loop_.Stop();
    thread_.join();
  }
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

 private:
  executor::EventLoop& loop_;
  std::thread thread_;
};

core::ReplicaId NewReplicaId() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  std::random_device random;
  return {name[0] == '\0' ? "pglessor" : name.data(), (uint64_t{random()} << 32) | random()};
}

// After a drain has begun: leases have until its deadline, then every connection is closed. False if a signal
// came that ends everything at once.
bool FinishDrain(core::Lessor& lessor, const core::Clock& clock, const Signals& signals,
                 const Drain::Begun& drain, const ops::Log& log) {
  // Where a call began the drain, the first signal only says the same again.
  int signals_left = drain.by_this_call ? 0 : 1;
  const auto await = [&](core::Time deadline, auto done) {
    while (clock.Now() < deadline && !done()) {
      if (signals.Came(kPollPeriod) && signals_left-- == 0) return false;
    }
    return true;
  };
  if (!await(drain.deadline, [&] { return lessor.InUse() == 0; })) return false;
  if (const int32_t left = lessor.InUse(); left > 0) {
    log.Warning("the drain timeout is over: leases end", {{"leases", absl::StrCat(left)}});
  }
  lessor.CloseAll();
  if (!await(clock.Now() + kCloseTimeout, [&] { return lessor.Empty(); })) return false;
  if (!lessor.Empty()) log.Warning("PostgreSQL has not confirmed the end of every connection");
  return true;
}

// They would hold tokens, passwords and parameters.
void ForbidCoreDumps() {
  constexpr rlimit kNone = {0, 0};
  PGLESSOR_CHECK(setrlimit(RLIMIT_CORE, &kNone) == 0, "a limit can always be lowered");
}

}  // namespace

int RunServer(const Config& config, const ReadConfig& reread, const ops::Log& log) {
  ForbidCoreDumps();
  const Signals signals(config.file.empty() ? Signals::Hangup::kEnds : Signals::Hangup::kReloads);

  std::unique_ptr<postgres::EmbeddedServer> embedded;
  std::vector<PoolConfig> pools = config.pools;
  if (config.embedded) {
    PoolConfig& pool = pools.front();
    auto started = postgres::EmbeddedServer::Start(
        {.directory = *config.embedded,
         .max_connections = pool.options.max_connections + kSpareEmbeddedConnections,
         .log_file = {}});
    if (!started.ok()) {
      log.Error("the embedded PostgreSQL did not start", {{"reason", started.status().message()}});
      return 1;
    }
    embedded = *std::move(started);
    pool.dsn = embedded->dsn();
    pool.control_dsn = embedded->control_dsn();
    log.Info("embedded PostgreSQL started",
             {{"data_directory", embedded->data_directory()}, {"log_file", embedded->log_file()}});
  }

  rpc::RpcServer rpc({.listen = config.listen,
                      .reflection = config.reflection,
                      .version = kVersion,
                      .identities = config.identities,
                      .tls = config.tls});
  if (const absl::Status listening = rpc.Listen(); !listening.ok()) {
    log.Error("no gRPC", {{"reason", listening.message()}});
    return 1;
  }
  for (const std::string& warning : WarningsOf(config, rpc.addresses().front())) log.Warning(warning);

  // In the order of their dependence: each outlives what stands below it, but for the loop's thread, which
  // is stopped first.
  const executor::BootClock clock;
  const HmacKey key;
  executor::EventLoop loop(clock);
  std::optional<core::FaultInjection> faults;
  if (config.fault_injection) {
    faults.emplace(clock, loop);
    log.Warning("fault injection is enabled: whoever may call InjectFault can make connections fail");
  }
  PoolEdges edges(loop, faults ? &*faults : nullptr);
  const core::ReplicaId replica = NewReplicaId();
  ops::LifecycleLog lifecycle(log, replica);
  core::Events events;
  lifecycle.Subscribe(events);
  core::EventHistory history(clock, events);
  core::Lessor lessor({.replica = replica,
                       .server_address = *AdvertisedAddress(config.advertise, rpc.addresses()),
                       .leases = {.ended_retention = config.ended_retention}},
                      clock, key, events);
  core::Reaper reaper(lessor, clock, loop);
  Reload reload(config, reread, {lessor, edges, rpc}, log);

  ops::OperatorPages pages(lessor, clock, kVersion);
  ops::HttpServer http(pages.Pages());
  if (const absl::Status listening = http.Listen(config.http); !listening.ok()) {
    log.Error("no HTTP", {{"reason", listening.message()}});
    return 1;
  }

  edges.Add(lessor, pools);
  reaper.Start();
  std::optional<LoopThread> loop_thread(loop);
  std::atomic<core::Duration> drain_timeout(config.drain_timeout);
  Drain drain(clock, [&](core::Time deadline) {
    rpc.SetServing(false);
    log.Info("draining: no new leases",
             {{"leases", absl::StrCat(lessor.InUse())},
              {"timeout_ms", absl::StrCat((deadline - clock.Now()) / milliseconds(1))}});
    lessor.Drain(deadline);
  });
  rpc.Serve({.lessor = lessor,
             .clock = clock,
             .history = history,
             .drain = [&](std::optional<core::Duration> timeout) -> rpc::DrainBegun {
               const Drain::Begun begun = drain.Begin(timeout.value_or(drain_timeout.load()));
               if (begun.by_this_call) signals.Wake();
               return {begun.deadline_wall, lessor.InUse()};
             },
             .faults = faults ? &*faults : nullptr});

  bool signalled = false;
  while (!signalled && !lessor.Warm()) signalled = signals.Came(kPollPeriod);
  if (!signalled) {
    rpc.SetServing(true);
    pages.Enter(ops::Phase::kServing);
    std::printf("pglessor ready grpc=%s gateway=off http=%s\n", rpc.addresses().front().c_str(),
                http.address().empty() ? "off" : http.address().c_str());
    std::fflush(stdout);
    log.Info("ready", {{"grpc", rpc.addresses().front()}, {"pools", absl::StrCat(pools.size())}});
    while (signals.AwaitOne() == SIGHUP) {
      reload.Run();
      drain_timeout = reload.config().drain_timeout;
    }
  }

  const Drain::Begun begun = drain.Begin(drain_timeout.load());
  rpc.SetServing(false);  // once more: a call may have begun it while we said the opposite
  pages.Enter(ops::Phase::kDraining);
  const bool drained = FinishDrain(lessor, clock, signals, begun, log);
  if (!drained) log.Warning("a second signal: ending at once");
  rpc.Stop(drained ? kLastAnswersTimeout : milliseconds(0));
  http.Stop();
  loop_thread.reset();
  log.Info("ended");
  return drained ? 0 : 1;
}

}  // namespace pglessor
