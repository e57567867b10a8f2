#include "server/rpc/convert.h"

#include <chrono>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "server/core/check.h"
#include "server/core/error.h"
#include "server/core/names.h"
#include "server/rpc/status.h"

namespace pglessor::rpc {
namespace {

using core::FieldInvalid;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr int64_t kNanosPerSecond = 1'000'000'000;
// The bounds that google/protobuf/duration.proto states: about 10,000 years.
constexpr int64_t kMaxSeconds = 315'576'000'000;

constexpr size_t kMaxHolder = 256;
constexpr size_t kMaxReason = 256;
constexpr int kMaxTags = 16;
constexpr size_t kMaxTagKey = 63;
constexpr size_t kMaxTagValue = 255;
constexpr char kDefaultPool[] = "default";

bool IsUuid(const std::string& text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !absl::ascii_isxdigit(text[i])) return false;
  }
  return true;
}

absl::Status CheckTags(const google::protobuf::Map<std::string, std::string>& tags) {
  if (static_cast<int>(tags.size()) > kMaxTags) {
    return FieldInvalid("tags", absl::StrCat("expected at most ", kMaxTags, ", got ", tags.size()));
  }
  for (const auto& [key, value] : tags) {
    if (key.empty() || key.size() > kMaxTagKey) {
      return FieldInvalid("tags", absl::StrCat("expected keys of 1 to ", kMaxTagKey, " bytes"));
    }
    if (value.size() > kMaxTagValue) {
      return FieldInvalid("tags", absl::StrCat("expected values of at most ", kMaxTagValue, " bytes"));
    }
  }
  return absl::OkStatus();
}

v1::LeaseState EnumOf(core::LeaseState state) {
  switch (state) {
    case core::LeaseState::kActive:
      return v1::LEASE_STATE_ACTIVE;
    case core::LeaseState::kEnding:
      return v1::LEASE_STATE_ENDING;
    case core::LeaseState::kEnded:
      return v1::LEASE_STATE_ENDED;
  }
  PGLESSOR_CHECK(false, "every state has a proto value");
}

v1::ConnectionState EnumOf(core::SlotState state) {
  switch (state) {
    case core::SlotState::kOpening:
      return v1::CONNECTION_STATE_OPENING;
    case core::SlotState::kAvailable:
      return v1::CONNECTION_STATE_AVAILABLE;
    case core::SlotState::kInUse:
      return v1::CONNECTION_STATE_IN_USE;
    case core::SlotState::kCleaning:
      return v1::CONNECTION_STATE_CLEANING;
    case core::SlotState::kRetiring:
      return v1::CONNECTION_STATE_RETIRING;
    case core::SlotState::kStuck:
      return v1::CONNECTION_STATE_STUCK;
  }
  PGLESSOR_CHECK(false, "every slot state has a proto value");
}

v1::Latency LatencyOf(const core::DurationSummary& summary) {
  v1::Latency proto;
  proto.set_count(summary.count);
  *proto.mutable_p50() = ToProto(summary.p50);
  *proto.mutable_p90() = ToProto(summary.p90);
  *proto.mutable_p99() = ToProto(summary.p99);
  *proto.mutable_max() = ToProto(summary.max);
  return proto;
}

void SetTenant(const core::PoolSnapshot::TenantRow& from, v1::TenantStats& to) {
  to.set_tenant(from.name);
  to.set_in_use(from.in_use);
  to.set_waiting(from.waiting);
  to.set_max_leases(from.max_leases);
  to.set_granted(from.granted);
  to.set_rejected(from.rejected);
}

void SetCounters(const core::PoolCounters& from, v1::Counters& to) {
  const auto ended = [&](core::EndReason reason) { return from.ended[static_cast<size_t>(reason)]; };
  to.set_acquires_requested(from.acquires_requested);
  to.set_granted(from.granted);
  to.set_timed_out(from.timed_out);
  to.set_cancelled(from.cancelled);
  to.set_rejected(from.rejected);
  to.set_released(ended(core::EndReason::kReleased));
  to.set_expired(ended(core::EndReason::kExpired));
  to.set_revoked(ended(core::EndReason::kRevoked));
  to.set_reset(ended(core::EndReason::kPoolReset));
  to.set_lost(ended(core::EndReason::kConnectionLost));
  to.set_unclaimed(ended(core::EndReason::kUnclaimed));
  to.set_drained(ended(core::EndReason::kDrained));
  to.set_connections_opened(from.connections_opened);
  to.set_connections_closed(from.connections_closed);
  to.set_opens_failed(from.opens_failed);
  to.set_validations(from.validations);
  to.set_validation_failures(from.validation_failures);
}

}  // namespace

absl::Status PoolNotNamed(const char* field) {
  return FieldInvalid(field, "expected a pool's name: an operator names what is touched");
}

v1::BreakerState ToProto(core::BreakerState breaker) {
  switch (breaker) {
    case core::BreakerState::kClosed:
      return v1::BREAKER_STATE_CLOSED;
    case core::BreakerState::kOpen:
      return v1::BREAKER_STATE_OPEN;
    case core::BreakerState::kHalfOpen:
      return v1::BREAKER_STATE_HALF_OPEN;
  }
  return v1::BREAKER_STATE_UNSPECIFIED;
}

v1::EndReason ToProto(core::EndReason reason) {
  switch (reason) {
    case core::EndReason::kReleased:
      return v1::END_REASON_RELEASED;
    case core::EndReason::kExpired:
      return v1::END_REASON_EXPIRED;
    case core::EndReason::kRevoked:
      return v1::END_REASON_REVOKED;
    case core::EndReason::kPoolReset:
      return v1::END_REASON_POOL_RESET;
    case core::EndReason::kConnectionLost:
      return v1::END_REASON_CONNECTION_LOST;
    case core::EndReason::kDrained:
      return v1::END_REASON_DRAINED;
    case core::EndReason::kUnclaimed:
      return v1::END_REASON_UNCLAIMED;
  }
  PGLESSOR_CHECK(false, "every end reason has a proto value");
}

google::protobuf::Duration ToProto(core::Duration span) {
  google::protobuf::Duration proto;
  proto.set_seconds(span.count() / kNanosPerSecond);
  proto.set_nanos(static_cast<int32_t>(span.count() % kNanosPerSecond));
  return proto;
}

google::protobuf::Timestamp ToProto(core::WallTime time) {
  const auto whole = std::chrono::floor<seconds>(time);
  google::protobuf::Timestamp proto;
  proto.set_seconds(whole.time_since_epoch().count());
  proto.set_nanos(static_cast<int32_t>((time - whole).count()));
  return proto;
}

absl::StatusOr<core::Duration> FromProto(const google::protobuf::Duration& span, const char* field) {
  if (span.nanos() < 0 || span.nanos() >= kNanosPerSecond || span.seconds() < 0 ||
      span.seconds() > kMaxSeconds) {
    return FieldInvalid(field, absl::StrCat("expected a duration of zero or more, with seconds up to ",
                                            kMaxSeconds, " and nanos from 0 to 999999999"));
  }
  if (span.seconds() >= core::Duration::max().count() / kNanosPerSecond) return core::Duration::max();
  return seconds(span.seconds()) + nanoseconds(span.nanos());
}

absl::StatusOr<core::Duration> TtlFromProto(const google::protobuf::Duration& span) {
  absl::StatusOr<core::Duration> ttl = FromProto(span, "ttl");
  if (ttl.ok() && *ttl == core::Duration::zero()) {
    return FieldInvalid("ttl", "expected a duration above zero; leave it unset for the default");
  }
  return ttl;
}

absl::Status Within(const char* field, const absl::Status& fault) {
  std::optional<core::ErrorDetail> detail = core::DetailOf(fault);
  if (!detail || detail->fields.empty()) return fault;
  for (core::Violation& violation : detail->fields) {
    violation.subject = absl::StrCat(field, ".", violation.subject);
  }
  return core::FieldsInvalid(std::move(detail->fields));
}

absl::StatusOr<core::AcquireRequest> FromProto(const v1::AcquireRequest& request, const Caller& caller) {
  core::AcquireRequest acquire;
  acquire.pool = request.pool().empty() ? kDefaultPool : request.pool();
  acquire.identity = caller.identity();
  if (!request.tenant().empty() && !core::IsTenant(request.tenant())) {
    return FieldInvalid("tenant",
                        "expected [a-z0-9][a-z0-9._-]{0,62} and not \"lease\", or empty for your own");
  }
  absl::StatusOr<std::string> tenant = caller.TenantFor(request.tenant());
  if (!tenant.ok()) return tenant.status();
  acquire.tenant = *std::move(tenant);
  acquire.holder = request.holder();
  if (acquire.holder.size() > kMaxHolder) {
    return FieldInvalid("holder",
                        absl::StrCat("expected at most ", kMaxHolder, " bytes, got ", acquire.holder.size()));
  }
  if (request.has_ttl()) {
    const absl::StatusOr<core::Duration> ttl = TtlFromProto(request.ttl());
    if (!ttl.ok()) return ttl.status();
    acquire.ttl = *ttl;
  }
  if (request.has_wait_timeout()) {
    const absl::StatusOr<core::Duration> wait = FromProto(request.wait_timeout(), "wait_timeout");
    if (!wait.ok()) return wait.status();
    acquire.wait = *wait;
  }
  switch (request.priority()) {
    case v1::PRIORITY_UNSPECIFIED:
    case v1::PRIORITY_NORMAL:
      acquire.priority = core::Priority::kNormal;
      break;
    case v1::PRIORITY_LOW:
      acquire.priority = core::Priority::kLow;
      break;
    case v1::PRIORITY_HIGH:
      acquire.priority = core::Priority::kHigh;
      break;
    default:
      return FieldInvalid("priority", "expected PRIORITY_LOW (1), PRIORITY_NORMAL (2) or PRIORITY_HIGH (3)");
  }
  if (absl::Status tags = CheckTags(request.tags()); !tags.ok()) return tags;
  acquire.tags.insert(request.tags().begin(), request.tags().end());
  if (!request.request_id().empty() && !IsUuid(request.request_id())) {
    return FieldInvalid("request_id", "expected a UUID, such as 7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001");
  }
  acquire.allow_fallback = request.allow_fallback();
  // A UUID is the same in either case.
  acquire.request_id = absl::AsciiStrToLower(request.request_id());
  return acquire;
}

absl::StatusOr<core::Disposition> FromProto(v1::Disposition disposition) {
  switch (disposition) {
    case v1::DISPOSITION_UNSPECIFIED:
    case v1::DISPOSITION_RETURN:
      return core::Disposition::kReturn;
    case v1::DISPOSITION_DISCARD:
      return core::Disposition::kDiscard;
    default:
      return FieldInvalid("disposition", "expected DISPOSITION_RETURN (1) or DISPOSITION_DISCARD (2)");
  }
}

absl::Status CheckTenant(const std::string& name, const char* field) {
  if (core::IsTenant(name)) return absl::OkStatus();
  return FieldInvalid(field, "expected [a-z0-9][a-z0-9._-]{0,62}, and not \"lease\"");
}

absl::Status CheckReason(const std::string& reason) {
  if (reason.size() <= kMaxReason) return absl::OkStatus();
  return FieldInvalid("reason", absl::StrCat("expected at most ", kMaxReason, " bytes, got ", reason.size()));
}

absl::Status CheckRenewPool(const v1::RenewPool& request) {
  if (request.pool().empty()) return PoolNotNamed("pool.pool");
  if (request.target() < 0) {
    return FieldInvalid("pool.target", "expected a number of connections, or 0 for the maximum");
  }
  return absl::OkStatus();
}

absl::StatusOr<core::LeaseFilter> FromProto(const v1::ExpireLeases& request) {
  core::LeaseFilter filter{request.pool(), request.tenant(), {}};
  filter.tags.insert(request.tags().begin(), request.tags().end());
  if (request.has_held_longer_than()) {
    const absl::StatusOr<core::Duration> held =
        FromProto(request.held_longer_than(), "leases.held_longer_than");
    if (!held.ok()) return held.status();
    filter.held_longer_than = *held;
  }
  if (filter.pool.empty() && filter.tenant.empty() && filter.tags.empty() && !filter.held_longer_than) {
    return FieldInvalid("leases", "expected at least one filter: pool, tenant, tags or held_longer_than");
  }
  return filter;
}

absl::StatusOr<core::Lessor::OldConnections> FromProto(const v1::ExpireConnections& request) {
  if (request.pool().empty()) return PoolNotNamed("connections.pool");
  core::Lessor::OldConnections which{request.pool(), {}, request.include_leased()};
  if (request.has_older_than()) {
    const absl::StatusOr<core::Duration> age = FromProto(request.older_than(), "connections.older_than");
    if (!age.ok()) return age.status();
    which.older_than = *age;
  }
  return which;
}

absl::StatusOr<bool> ForceFromProto(const v1::ResetRequest& request) {
  if (request.pool().empty()) return PoolNotNamed("pool");
  if (absl::Status fault = CheckReason(request.reason()); !fault.ok()) return fault;
  switch (request.mode()) {
    case v1::RESET_MODE_UNSPECIFIED:
    case v1::RESET_MODE_GRACEFUL:
      return false;
    case v1::RESET_MODE_FORCE:
      return true;
    default:
      return FieldInvalid("mode", "expected RESET_MODE_GRACEFUL (1) or RESET_MODE_FORCE (2)");
  }
}

v1::RenewedPool RenewedPoolOf(const core::PoolReport& report) {
  v1::RenewedPool proto;
  proto.set_validated(report.validated);
  proto.set_replaced(report.replaced);
  proto.set_opened(report.opened);
  proto.set_failed(report.failed);
  proto.set_total(report.total);
  proto.set_coalesced(report.coalesced);
  return proto;
}

v1::ResetResponse ResetResponseOf(const core::PoolReport& report) {
  v1::ResetResponse proto;
  proto.set_generation(report.generation);
  proto.set_connections_closed(report.retired);
  proto.set_connections_retiring(report.retiring);
  proto.set_leases_revoked(report.leases_ended);
  proto.set_connections_opened(report.opened);
  proto.set_total(report.total);
  proto.set_coalesced(report.coalesced);
  return proto;
}

v1::ExpireResponse ToProto(const core::Lessor::Expired& expired, const core::Lessor& lessor) {
  v1::ExpireResponse proto;
  // Of connections whose leases end, the pool counts; of a dry run it is the only one that can.
  proto.set_leases_ended(
      std::max(static_cast<int32_t>(expired.leases.size()), expired.connections.leases_ended));
  proto.set_connections_retired(expired.connections.retired);
  proto.set_connections_retiring(expired.connections.retiring);
  proto.set_connections_opened(expired.connections.opened);
  proto.set_coalesced(expired.connections.coalesced);
  for (const core::LeaseCounter lease : expired.leases) {
    proto.add_lease_ids(core::FormatLeaseId(lessor.IdOf(lease)));
  }
  return proto;
}

void ToProto(const core::LeaseView& lease, const core::Lessor& lessor, v1::Lease& proto) {
  const core::LeaseGrant& grant = lease.grant;
  proto.set_lease_id(core::FormatLeaseId(lessor.IdOf(grant.counter)));
  proto.set_pool(grant.pool);
  proto.set_fallback_for(grant.fallback_for);
  proto.set_tenant(grant.terms.tenant);
  proto.set_holder(grant.terms.holder);
  proto.set_state(EnumOf(lease.state));
  if (lease.end_reason) proto.set_end_reason(ToProto(*lease.end_reason));
  proto.set_connection_id(core::FormatConnectionId(grant.connection, grant.connection_opened));
  proto.set_backend_pid(grant.backend_pid);
  proto.set_fencing_token(grant.fencing_token.value);
  *proto.mutable_acquire_time() = ToProto(grant.acquired_wall);
  *proto.mutable_expire_time() = ToProto(lease.expire_wall);
  *proto.mutable_ttl() = ToProto(lease.ttl);
  *proto.mutable_renew_after() = ToProto(lease.ttl / 3);
  *proto.mutable_waited() = ToProto(grant.waited);
  proto.set_priority(static_cast<v1::Priority>(grant.terms.priority));
  proto.mutable_tags()->insert(grant.terms.tags.begin(), grant.terms.tags.end());
  proto.set_server_address(lessor.server_address());
}

v1::ConnectionStats ToProto(const core::PoolView::Row& row, core::Time now, core::WallTime now_wall,
                            const core::Lessor& lessor) {
  const core::SlotState state = row.slot.state;
  v1::ConnectionStats proto;
  proto.set_id(row.id);
  proto.set_state(EnumOf(state));
  proto.set_in_use(state == core::SlotState::kInUse);
  proto.set_uses(row.slot.uses);
  proto.set_generation(row.slot.generation);
  if (row.id.empty()) return proto;  // it is being opened
  *proto.mutable_create_time() = ToProto(row.opened_wall);
  *proto.mutable_age() = ToProto(now - row.opened);
  proto.set_backend_pid(row.backend_pid);
  if (row.slot.uses > 0) *proto.mutable_last_use_time() = ToProto(now_wall - (now - row.slot.last_use));
  if (state == core::SlotState::kInUse) {
    *proto.mutable_idle() = ToProto(core::Duration::zero());
    if (row.lease) proto.set_lease_id(core::FormatLeaseId(lessor.IdOf(*row.lease)));
  } else {
    *proto.mutable_idle() = ToProto(now - row.slot.last_use);
  }
  return proto;
}

void ToProto(const core::Lessor::Released& released, const core::Lessor& lessor, v1::ReleaseResponse& proto) {
  ToProto(released.lease, lessor, *proto.mutable_lease());
  proto.set_already_released(released.already_released);
  proto.set_rolled_back(released.rolled_back);
}

v1::PoolStats ToProto(const core::PoolView& pool, const core::Lessor& lessor, bool omit_connections) {
  const core::PoolSnapshot& snapshot = pool.snapshot;
  v1::PoolStats proto;
  proto.set_pool(pool.options.name);
  proto.set_total(snapshot.total);
  proto.set_available(snapshot.in(core::SlotState::kAvailable));
  proto.set_in_use(snapshot.in(core::SlotState::kInUse));
  proto.set_opening(snapshot.in(core::SlotState::kOpening));
  proto.set_cleaning(snapshot.in(core::SlotState::kCleaning));
  proto.set_retiring(snapshot.in(core::SlotState::kRetiring));
  proto.set_stuck(snapshot.in(core::SlotState::kStuck));
  proto.set_waiting(snapshot.waiting);
  proto.set_min_connections(pool.options.min_connections);
  proto.set_max_connections(pool.options.max_connections);
  *proto.mutable_uptime() = ToProto(pool.uptime);
  proto.set_breaker(ToProto(snapshot.breaker));
  proto.set_paused(snapshot.paused);
  SetCounters(snapshot.counters, *proto.mutable_counters());
  proto.set_generation(snapshot.generation);
  *proto.mutable_wait() = LatencyOf(snapshot.wait);
  *proto.mutable_hold() = LatencyOf(snapshot.hold);
  *proto.mutable_oldest_wait() = ToProto(snapshot.oldest_wait);
  for (const core::PoolSnapshot::TenantRow& row : snapshot.tenants) SetTenant(row, *proto.add_tenants());
  if (omit_connections) return proto;
  for (const core::PoolView::Row& row : pool.connections) {
    *proto.add_connections() = ToProto(row, pool.now, pool.now_wall, lessor);
  }
  return proto;
}

}  // namespace pglessor::rpc
