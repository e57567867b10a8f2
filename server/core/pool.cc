#include "server/core/pool.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "server/core/check.h"

namespace pglessor::core {
namespace {

const char* Describe(RetireReason reason) {
  switch (reason) {
    case RetireReason::kLost:
      return "its backend died";
    case RetireReason::kDiscarded:
      return "its lease ended in a way that left it unfit";
    case RetireReason::kUnclean:
      return "it did not come clean";
    case RetireReason::kInvalid:
      return "it did not answer a probe";
    case RetireReason::kLifetime:
      return "it reached max_lifetime";
    case RetireReason::kIdle:
      return "it was idle for idle_timeout";
    case RetireReason::kReset:
      return "the pool was reset";
    case RetireReason::kExpired:
      return "an operator expired it";
    case RetireReason::kSurplus:
      return "the pool's maximum was lowered";
    case RetireReason::kDisplaced:
      return "one for another tenant takes its place";
    case RetireReason::kShuttingDown:
      return "the service is shutting down";
    case RetireReason::kPoolRemoved:
      return "its pool was removed";
  }
  PGLESSOR_CHECK(false, "every reason has a description");
}

}  // namespace

Pool::Pool(const PoolOptions& options, const Surroundings& surroundings, Connector& connector,
           FencingSource& fencing, LeaseLost lease_lost)
    : name_(options.name),
      clock_(surroundings.clock),
      events_(surroundings.events),
      started_(clock_.Now()),
      connector_(connector),
      fencing_(fencing),
      lease_lost_(std::move(lease_lost)),
      state_(options),
      options_(std::make_shared<const PoolOptions>(options)) {}

template <typename Step, typename Tell>
void Pool::Decide(Step step, Tell tell) {
  Actions actions;
  {
    const MutexLock lock(mutex_);
    step(state_, clock_.Now(), actions);
  }
  tell();
  Act(actions);
}

void Pool::Start() {
  fencing_.Subscribe([this](FencingSource::Block block) {
    bool goes_on = true;
    Decide([&](PoolState& state, Time now, Actions& actions) {
      goes_on = !state.removed();
      state.AddFencingBlock(now, block, actions);
    });
    return goes_on;
  });
  Tick();
}

std::shared_ptr<const PoolOptions> Pool::options() {
  const MutexLock lock(mutex_);
  return options_;
}

WaiterId Pool::Acquire(Arrival arrival) {
  WaiterId id;
  Decide([&](PoolState& state, Time now, Actions& actions) {
    id = state.Acquire(now, std::move(arrival), actions);
  });
  return id;
}

void Pool::Cancel(WaiterId waiter) {
  Decide([&](PoolState& state, Time, Actions& actions) { state.Cancel(waiter, actions); });
}

void Pool::Extend(WaiterId waiter, Time deadline) {
  const MutexLock lock(mutex_);
  state_.Extend(waiter, deadline);
}

absl::Status Pool::WaitedInVain(absl::string_view tenant, Time since) {
  const MutexLock lock(mutex_);
  return state_.WaitedInVain(tenant, since);
}

std::optional<EndReason> Pool::Bind(ConnectionIndex connection, LeaseCounter lease) {
  std::optional<EndReason> overtaken;
  connections_.With(connection, [&](Registered& entry) {
    entry.lease = lease;
    overtaken = entry.end_next;
  });
  return overtaken;
}

void Pool::Unbind(ConnectionIndex connection) {
  connections_.With(connection, [](Registered& entry) { entry.lease.reset(); });
}

void Pool::Return(SlotRef slot, EndReason reason) {
  Unbind(slot.index);
  Decide([&](PoolState& state, Time now, Actions& actions) { state.Return(now, slot, reason, actions); });
}

void Pool::BeginClean(SlotRef slot, EndReason reason) {
  Unbind(slot.index);
  Decide([&](PoolState& state, Time now, Actions& actions) { state.BeginClean(now, slot, reason, actions); });
}

void Pool::Cleaned(SlotRef slot, const Connection::CleanReport& report) {
  if (report.ok()) Emit(EventType::kConnectionCleaned, slot.index);
  Decide([&](PoolState& state, Time now, Actions& actions) {
    if (report.ok()) {
      state.Cleaned(now, slot, actions);
    } else {
      state.Retire(now, slot, actions);
    }
  });
}

void Pool::Discard(SlotRef slot, EndReason reason) {
  Unbind(slot.index);
  Decide([&](PoolState& state, Time now, Actions& actions) { state.Discard(now, slot, reason, actions); });
}

std::vector<LeaseCounter> Pool::Reset(bool force, const std::string& reason, PoolOperation::Done done) {
  std::vector<ConnectionIndex> leased;
  uint64_t before = 0;
  uint64_t generation = 0;
  Decide(
      [&](PoolState& state, Time now, Actions& actions) {
        before = state.generation();
        leased = state.Reset(now, force, std::move(done), actions);
        generation = state.generation();
      },
      [&] {
        if (generation == before || !events_.Wants(EventType::kPoolReset)) return;
        Event event = EventOf(EventType::kPoolReset);
        event.generation = generation;
        event.reason = reason;
        events_.Emit(event);
      });
  return LeasesOf(leased, EndReason::kPoolReset);
}

std::vector<LeaseCounter> Pool::Expire(Duration older_than, bool force, PoolOperation::Done done) {
  std::vector<ConnectionIndex> leased;
  Decide([&](PoolState& state, Time now, Actions& actions) {
    leased = state.Expire(now, older_than, force, std::move(done), actions);
  });
  return LeasesOf(leased, EndReason::kRevoked);
}

PoolReport Pool::WouldExpire(Duration older_than, bool force) {
  const MutexLock lock(mutex_);
  return state_.WouldExpire(clock_.Now(), older_than, force);
}

void Pool::Renew(int32_t target, PoolOperation::Done done) {
  Decide([&](PoolState& state, Time now, Actions& actions) {
    state.Renew(now, target, std::move(done), actions);
  });
}

std::vector<LeaseCounter> Pool::LeasesOf(const std::vector<ConnectionIndex>& connections, EndReason reason) {
  std::vector<LeaseCounter> leases;
  for (const ConnectionIndex connection : connections) {
    connections_.With(connection, [&](Registered& entry) {
      if (entry.lease) {
        leases.push_back(*entry.lease);
      } else {
        entry.end_next = reason;
      }
    });
  }
  return leases;
}

Pool::Pausing Pool::Pause(const std::string& reason) {
  Pausing pausing;
  {
    const MutexLock lock(mutex_);
    pausing = {state_.Pause(), state_.in(SlotState::kInUse), state_.waiting()};
  }
  if (pausing.changed && events_.Wants(EventType::kPoolPaused)) {
    Event event = EventOf(EventType::kPoolPaused);
    event.reason = reason;
    events_.Emit(event);
  }
  return pausing;
}

Pool::Pausing Pool::Resume() {
  Pausing pausing;
  Decide(
      [&](PoolState& state, Time now, Actions& actions) {
        pausing.in_use = state.in(SlotState::kInUse);
        pausing.waiting = state.waiting();
        pausing.changed = state.Resume(now, actions);
      },
      [&] {
        if (!pausing.changed || !events_.Wants(EventType::kPoolResumed)) return;
        events_.Emit(EventOf(EventType::kPoolResumed));
      });
  return pausing;
}

bool Pool::Reconfigure(const std::shared_ptr<const PoolOptions>& before, const PoolOptions& options) {
  auto shown = std::make_shared<const PoolOptions>(options);
  Actions actions;
  {
    const MutexLock lock(mutex_);
    if (options_ != before) return false;
    state_.Reconfigure(clock_.Now(), options, actions);
    options_ = std::move(shown);
  }
  if (events_.Wants(EventType::kPoolUpdated)) events_.Emit(EventOf(EventType::kPoolUpdated));
  Act(actions);
  return true;
}

void Pool::Tick() {
  Decide([](PoolState& state, Time now, Actions& actions) { state.Tick(now, actions); });
}

void Pool::Drain() {
  Decide([](PoolState& state, Time, Actions& actions) { state.Drain(actions); });
}

void Pool::CloseAll() {
  Decide([](PoolState& state, Time now, Actions& actions) { state.CloseAll(now, actions); });
}

int32_t Pool::InUse() {
  const MutexLock lock(mutex_);
  return state_.in(SlotState::kInUse);
}

bool Pool::Warm() {
  const MutexLock lock(mutex_);
  return state_.warm();
}

bool Pool::Empty() {
  const MutexLock lock(mutex_);
  return state_.total() == 0;
}

PoolView Pool::View() {
  PoolView view;
  {
    const MutexLock lock(mutex_);
    view.options = state_.options();
    view.now = clock_.Now();
    view.snapshot = state_.Snapshot(view.now);
  }
  view.now_wall = clock_.WallNow();
  view.uptime = view.now - started_;
  for (const PoolSnapshot::Slot& slot : view.snapshot.slots) {
    PoolView::Row row;
    row.slot = slot;
    connections_.With(slot.index, [&](const Registered& entry) {
      row.id = entry.id;
      row.backend_pid = entry.connection->backend_pid();
      row.opened = entry.opened;
      row.opened_wall = entry.opened_wall;
      row.lease = entry.lease;
    });
    view.connections.push_back(std::move(row));
  }
  return view;
}

void Pool::Act(Actions& actions) {
  if (actions.breaker && events_.Wants(EventType::kBreakerChanged)) {
    Event event = EventOf(EventType::kBreakerChanged);
    event.breaker = actions.breaker;
    events_.Emit(event);
  }
  if (actions.queued) {
    for (const EventType type : {EventType::kWaiterQueued, EventType::kPoolSaturated}) {
      const bool happened = type == EventType::kWaiterQueued || actions.saturated;
      if (happened && events_.Wants(type)) events_.Emit(EventOf(type));
    }
  }
  for (const Actions::Closing& closing : actions.closes) Close(closing);
  for (const Actions::Opening& opening : actions.opens) Open(opening);
  for (const SlotRef slot : actions.probes) Probe(slot);
  for (Actions::Refusal& refusal : actions.refusals) {
    if (events_.Wants(EventType::kWaiterLeft)) {
      Event event = EventOf(EventType::kWaiterLeft);
      event.reason = std::string(refusal.why.message());
      events_.Emit(event);
    }
    refusal.waiter.done(std::move(refusal.why));
  }
  for (Actions::Grant& grant : actions.grants) Complete(grant);
  for (auto& [operation, status] : actions.finished) {
    for (PoolOperation::Done& done : operation.done) {
      if (status.ok()) {
        done(operation.report);
      } else {
        done(status);
      }
      operation.report.coalesced = true;
    }
  }
  if (actions.take_fencing_block) fencing_.TakeBlock();
}

void Pool::Complete(Actions::Grant& grant) {
  Granted granted{grant.slot, nullptr, {}};
  connections_.With(grant.slot.slot.index, [&](const Registered& entry) {
    granted.connection = entry.connection;
    granted.opened = entry.opened_wall;
  });
  PGLESSOR_CHECK(granted.connection != nullptr, "a connection is registered before it is available");
  if (granted.connection->lost()) {
    // It died while it was idle, and the news of it is on its way: nobody is handed a dead connection.
    Decide(
        [&](PoolState& state, Time now, Actions& actions) { state.Regret(now, std::move(grant), actions); });
    return;
  }
  grant.waiter.done(std::move(granted));
}

void Pool::Open(const Actions::Opening& opening) {
  connector_.Open(
      {options()->connect_timeout, opening.role},
      [this, opening](absl::StatusOr<std::shared_ptr<Connection>> opened) {
        OnOpened(opening, std::move(opened));
      },
      [this, slot = opening.slot] { OnLost(slot); });
}

void Pool::OnOpened(const Actions::Opening& opening, absl::StatusOr<std::shared_ptr<Connection>> opened) {
  const SlotRef slot = opening.slot;
  if (!opened.ok()) {
    if (events_.Wants(EventType::kConnectionOpenFailed)) {
      Event event = EventOf(EventType::kConnectionOpenFailed);
      event.reason = std::string(opened.status().message());
      events_.Emit(event);
    }
    Decide([&](PoolState& state, Time now, Actions& actions) {
      state.OpenFailed(now, slot, opened.status(), actions);
    });
    return;
  }
  const WallTime wall = clock_.WallNow();
  connections_.Insert(slot.index, {.connection = *std::move(opened),
                                   .id = FormatConnectionId(slot.index, wall),
                                   .generation = opening.generation,
                                   .opened = clock_.Now(),
                                   .opened_wall = wall,
                                   .lease = std::nullopt,
                                   .end_next = std::nullopt});
  Emit(EventType::kConnectionOpened, slot.index, opening.on_demand ? "on demand" : "for the minimum");
  Decide([&](PoolState& state, Time now, Actions& actions) { state.Opened(now, slot, actions); });
}

void Pool::OnLost(SlotRef slot) {
  Decide([&](PoolState& state, Time now, Actions& actions) { state.Lost(now, slot, actions); });
  std::optional<LeaseCounter> lease;
  connections_.With(slot.index, [&](const Registered& entry) { lease = entry.lease; });
  if (lease) lease_lost_(*lease);
}

void Pool::Probe(SlotRef slot) {
  Find(slot.index)->Probe([this, slot](const Connection::CleanReport& report) {
    if (report.ok()) Emit(EventType::kConnectionValidated, slot.index);
    Decide(
        [&](PoolState& state, Time now, Actions& actions) { state.Probed(now, slot, report.ok(), actions); });
  });
}

void Pool::Close(const Actions::Closing& closing) {
  const SlotRef slot = closing.slot;
  Emit(EventType::kConnectionRetired, slot.index, Describe(closing.reason));
  Find(slot.index)
      ->Close({.gone =
                   [this, slot, reason = closing.reason] {
                     Emit(EventType::kConnectionClosed, slot.index, Describe(reason));
                     connections_.Erase(slot.index);
                     Decide([&](PoolState& state, Time now, Actions& actions) {
                       state.Gone(now, slot, actions);
                     });
                   },
               .stuck =
                   [this, slot] {
                     Emit(EventType::kConnectionStuck, slot.index);
                     const MutexLock lock(mutex_);
                     state_.Stuck(slot);
                   }});
}

std::shared_ptr<Connection> Pool::Find(ConnectionIndex index) {
  std::shared_ptr<Connection> connection;
  connections_.With(index, [&](const Registered& entry) { connection = entry.connection; });
  PGLESSOR_CHECK(connection != nullptr, "a connection is registered from its opening until it has gone");
  return connection;
}

Event Pool::EventOf(EventType type) {
  return {.type = type, .pool = name_, .max = options()->max_connections};
}

void Pool::Emit(EventType type, ConnectionIndex connection, std::string reason) {
  if (!events_.Wants(type)) return;
  Event event = EventOf(type);
  event.reason = std::move(reason);
  connections_.With(connection, [&](const Registered& entry) {
    event.connection_id = entry.id;
    event.backend_pid = entry.connection->backend_pid();
    event.generation = entry.generation;
    event.age = clock_.Now() - entry.opened;
  });
  {
    const MutexLock lock(mutex_);
    event.total = state_.total();
  }
  events_.Emit(event);
}

}  // namespace pglessor::core
