#include "server/core/pool.h"

#include <utility>

#include "server/core/check.h"

namespace pglessor::core {

Pool::Pool(const PoolOptions& options, const Clock& clock, Connector& connector, FencingSource& fencing,
           LeaseLost lease_lost)
    : options_(options),
      clock_(clock),
      started_(clock.Now()),
      connector_(connector),
      fencing_(fencing),
      lease_lost_(std::move(lease_lost)),
      state_(options) {}

template <typename Step>
void Pool::Decide(Step step) {
  Actions actions;
  {
    const MutexLock lock(mutex_);
    step(state_, clock_.Now(), actions);
  }
  Act(std::move(actions));
}

void Pool::Start() {
  fencing_.Subscribe([this](FencingSource::Block block) {
    Decide([&](PoolState& state, Time now, Actions& actions) { state.AddFencingBlock(now, block, actions); });
  });
  Tick();
}

WaiterId Pool::Acquire(Duration wait, Waiter::Done done) {
  WaiterId id;
  Decide([&](PoolState& state, Time now, Actions& actions) {
    id = state.Acquire(now, wait, std::move(done), actions);
  });
  return id;
}

void Pool::Cancel(WaiterId waiter) {
  Decide([&](PoolState& state, Time, Actions& actions) { state.Cancel(waiter, actions); });
}

void Pool::Bind(ConnectionIndex connection, LeaseCounter lease) {
  connections_.With(connection, [&](Registered& entry) { entry.lease = lease; });
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
  Decide([&](PoolState& state, Time now, Actions&) { state.BeginClean(now, slot, reason); });
}

void Pool::Cleaned(SlotRef slot, const Connection::CleanReport& report) {
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

void Pool::Tick() {
  Decide([](PoolState& state, Time now, Actions& actions) { state.Tick(now, actions); });
}

void Pool::Drain() {
  Decide([](PoolState& state, Time, Actions& actions) { state.Drain(actions); });
}

void Pool::CloseAll() {
  Decide([](PoolState& state, Time now, Actions& actions) { state.CloseAll(now, actions); });
}

int32_t Pool::Available() {
  const MutexLock lock(mutex_);
  return state_.in(SlotState::kAvailable);
}

int32_t Pool::InUse() {
  const MutexLock lock(mutex_);
  return state_.in(SlotState::kInUse);
}

bool Pool::Empty() {
  const MutexLock lock(mutex_);
  return state_.total() == 0;
}

PoolView Pool::View() {
  PoolView view;
  view.options = options_;
  {
    const MutexLock lock(mutex_);
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

void Pool::Act(Actions actions) {
  for (const SlotRef slot : actions.closes) Close(slot);
  for (const SlotRef slot : actions.opens) Open(slot);
  for (Actions::Refusal& refusal : actions.refusals) refusal.waiter.done(std::move(refusal.why));
  for (Actions::Grant& grant : actions.grants) Complete(std::move(grant));
  if (actions.take_fencing_block) fencing_.TakeBlock();
}

void Pool::Complete(Actions::Grant grant) {
  Granted granted{grant.slot, nullptr, {}};
  connections_.With(grant.slot.slot.index, [&](const Registered& entry) {
    granted.connection = entry.connection;
    granted.connection_id = entry.id;
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

void Pool::Open(SlotRef slot) {
  connector_.Open(
      options_.connect_timeout,
      [this, slot](absl::StatusOr<std::shared_ptr<Connection>> opened) { OnOpened(slot, std::move(opened)); },
      [this, slot] { OnLost(slot); });
}

void Pool::OnOpened(SlotRef slot, absl::StatusOr<std::shared_ptr<Connection>> opened) {
  if (!opened.ok()) {
    Decide([&](PoolState& state, Time now, Actions& actions) {
      state.OpenFailed(now, slot, opened.status(), actions);
    });
    return;
  }
  const WallTime wall = clock_.WallNow();
  connections_.Insert(slot.index, {*std::move(opened), FormatConnectionId(slot.index, wall), clock_.Now(),
                                   wall, std::nullopt});
  Decide([&](PoolState& state, Time now, Actions& actions) { state.Opened(now, slot, actions); });
}

void Pool::OnLost(SlotRef slot) {
  Decide([&](PoolState& state, Time now, Actions& actions) { state.Lost(now, slot, actions); });
  std::optional<LeaseCounter> lease;
  connections_.With(slot.index, [&](const Registered& entry) { lease = entry.lease; });
  if (lease) lease_lost_(*lease);
}

void Pool::Close(SlotRef slot) {
  std::shared_ptr<Connection> connection;
  connections_.With(slot.index, [&](const Registered& entry) { connection = entry.connection; });
  PGLESSOR_CHECK(connection != nullptr, "only an open connection is closed");
  connection->Close(
      {.gone =
           [this, slot] {
             connections_.Erase(slot.index);
             Decide([&](PoolState& state, Time now, Actions& actions) { state.Gone(now, slot, actions); });
           },
       .stuck =
           [this, slot] {
             const MutexLock lock(mutex_);
             state_.Stuck(slot);
           }});
}

}  // namespace pglessor::core
