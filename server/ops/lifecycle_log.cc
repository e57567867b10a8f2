#include "server/ops/lifecycle_log.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "server/core/check.h"

namespace pglessor::ops {
namespace {

using core::Event;
using core::EventType;

struct Described {
  const char* name;  // for machines
  LogLevel level;
};

Described Describe(EventType type) {
  switch (type) {
    case EventType::kConnectionOpened:
      return {"connection_opened", LogLevel::kInfo};
    case EventType::kConnectionOpenFailed:
      return {"connection_open_failed", LogLevel::kWarning};
    case EventType::kConnectionValidated:
      return {"connection_validated", LogLevel::kDebug};
    case EventType::kConnectionLeased:
      return {"connection_leased", LogLevel::kDebug};
    case EventType::kConnectionReleased:
      return {"connection_released", LogLevel::kDebug};
    case EventType::kConnectionCleaned:
      return {"connection_cleaned", LogLevel::kDebug};
    case EventType::kConnectionRetired:
      return {"connection_retired", LogLevel::kInfo};
    case EventType::kConnectionClosed:
      return {"connection_closed", LogLevel::kInfo};
    case EventType::kConnectionStuck:
      return {"connection_stuck", LogLevel::kError};
    case EventType::kLeaseGranted:
      return {"lease_granted", LogLevel::kDebug};
    case EventType::kLeaseRenewed:
      return {"lease_renewed", LogLevel::kDebug};
    case EventType::kLeaseReleased:
      return {"lease_released", LogLevel::kDebug};
    case EventType::kLeaseEnded:
      return {"lease_ended", LogLevel::kInfo};
    case EventType::kWaiterQueued:
      return {"waiter_queued", LogLevel::kDebug};
    case EventType::kWaiterLeft:
      return {"waiter_left", LogLevel::kDebug};
    case EventType::kPoolSaturated:
      return {"pool_saturated", LogLevel::kInfo};
    case EventType::kPoolReset:
      return {"pool_reset", LogLevel::kInfo};
    case EventType::kPoolPaused:
      return {"pool_paused", LogLevel::kWarning};
    case EventType::kPoolResumed:
      return {"pool_resumed", LogLevel::kInfo};
    case EventType::kPoolUpdated:
      return {"pool_updated", LogLevel::kInfo};
    case EventType::kBreakerChanged:
      return {"breaker_changed", LogLevel::kWarning};
    case EventType::kLeaseLeakSuspected:
      return {"lease_leak_suspected", LogLevel::kWarning};
    case EventType::kDrainStarted:
      return {"drain_started", LogLevel::kInfo};
  }
  PGLESSOR_CHECK(false, "every type of event is described");
}

const char* BreakerSentence(core::BreakerState breaker) {
  switch (breaker) {
    case core::BreakerState::kClosed:
      return "The database can be reached again: connections are opened as needed";
    case core::BreakerState::kOpen:
      return "The database is out of reach: one opening is tried now and then";
    case core::BreakerState::kHalfOpen:
      return "The database is tried with one opening";
  }
  PGLESSOR_CHECK(false, "every state of a breaker has its sentence");
}

std::string Sentence(const Event& event, const std::string& lease) {
  const std::string& connection = event.connection_id;
  const auto filled = [&] { return absl::StrCat(event.total.value_or(0), "/", event.max); };
  switch (event.type) {
    case EventType::kConnectionOpened:
      return absl::StrCat("New connection ", connection, " created ", event.reason, " (total: ", filled(),
                          ")");
    case EventType::kConnectionOpenFailed:
      return "A connection could not be opened";
    case EventType::kConnectionValidated:
      return absl::StrCat("Connection ", connection, " is sound");
    case EventType::kConnectionLeased:
      return absl::StrCat("Connection ", connection, " obtained from pool");
    case EventType::kConnectionReleased:
      // Of every end, an expiry and a revocation too: these words are what people search for, and the lease's
      // own line says how it ended.
      return absl::StrCat("Connection ", connection, " released to pool");
    case EventType::kConnectionCleaned:
      return absl::StrCat("Connection ", connection, " is clean");
    case EventType::kConnectionRetired:
      return absl::StrCat("Connection ", connection, " retired: ", event.reason);
    case EventType::kConnectionClosed:
      return absl::StrCat("Connection ", connection, " closed");
    case EventType::kConnectionStuck:
      return absl::StrCat("Connection ", connection,
                          " is stuck: the end of its backend is not confirmed, and its slot stays taken");
    case EventType::kLeaseGranted:
      return absl::StrCat("Lease ", lease, " granted");
    case EventType::kLeaseRenewed:
      return absl::StrCat("Lease ", lease, " renewed");
    case EventType::kLeaseReleased:
      return absl::StrCat("Lease ", lease, " released");
    case EventType::kLeaseEnded:
      return absl::StrCat("Lease ", lease, " was taken from its holder");
    case EventType::kWaiterQueued:
      return "A caller waits for a connection";
    case EventType::kWaiterLeft:
      return "A caller left the queue without a connection";
    case EventType::kPoolSaturated:
      return absl::StrCat("Pool at maximum limit (", event.max, "/", event.max,
                          "), waiting for available connection...");
    case EventType::kPoolReset:
      return absl::StrCat("Pool reset: its generation is now ", event.generation);
    case EventType::kPoolPaused:
      return "Pool paused: nothing is granted until it is resumed";
    case EventType::kPoolResumed:
      return "Pool resumed";
    case EventType::kPoolUpdated:
      return "Pool settings changed";
    case EventType::kBreakerChanged:
      return BreakerSentence(event.breaker.value_or(core::BreakerState::kClosed));
    case EventType::kLeaseLeakSuspected:
      return absl::StrCat("Lease ", lease,
                          " is held for longer than leak_warning: has its holder forgotten it?");
    case EventType::kDrainStarted:
      return "Draining: no new leases";
  }
  PGLESSOR_CHECK(false, "every type of event has its sentence");
}

}  // namespace

void LifecycleLog::Subscribe(core::Events& events) {
  for (const EventType type : core::kAllEventTypes) {
    if (log_.Writes(Describe(type).level)) events.AddSink(*this, {type});
  }
}

void LifecycleLog::OnEvent(const Event& event) {
  const auto [name, level] = Describe(event.type);
  const std::string lease = event.lease ? core::FormatLeaseId({replica_, *event.lease}) : "";
  std::vector<std::pair<std::string, std::string>> fields = {{"event", name}};
  const auto add = [&](std::string key, std::string value) {
    if (!value.empty()) fields.emplace_back(std::move(key), std::move(value));
  };
  add("pool", event.pool);
  add("connection", event.connection_id);
  if (event.backend_pid != 0) add("backend_pid", absl::StrCat(event.backend_pid));
  add("lease", lease);
  add("tenant", event.tenant);
  add("holder", event.holder);
  if (event.fencing_token.value != 0) add("fencing_token", absl::StrCat(event.fencing_token.value));
  if (event.generation != 0) add("generation", absl::StrCat(event.generation));
  if (event.end_reason) add("end_reason", core::EndReasonCode(*event.end_reason));
  add("reason", event.reason);
  for (const auto& [key, value] : event.tags) add(absl::StrCat("tag.", key), value);
  if (event.age) add("age_ms", core::Milliseconds(*event.age));
  if (event.held) add("held_ms", core::Milliseconds(*event.held));
  if (event.waited) add("waited_ms", core::Milliseconds(*event.waited));

  const std::vector<Log::Field> views(fields.begin(), fields.end());
  log_.Write(level, Sentence(event, lease), views);
}

}  // namespace pglessor::ops
