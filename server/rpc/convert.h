// Proto ↔ core, for leases and pools. Pure; bad input ends here, with the field's name and what was
// expected.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

#include "pglessor/v1/lease.pb.h"
#include "pglessor/v1/lease_service.pb.h"
#include "pglessor/v1/stats.pb.h"
#include "server/core/clock.h"
#include "server/core/lease_table.h"
#include "server/core/lessor.h"
#include "server/core/pool.h"
#include "server/rpc/caller.h"

namespace pglessor::rpc {

v1::EndReason ToProto(core::EndReason reason);
v1::BreakerState ToProto(core::BreakerState breaker);
google::protobuf::Duration ToProto(core::Duration span);
google::protobuf::Timestamp ToProto(core::WallTime time);

// A normalised duration, zero or more; what is too long to count in nanoseconds is as long as can be.
absl::StatusOr<core::Duration> FromProto(const google::protobuf::Duration& span, const char* field);

// A ttl: as above, and not zero.
absl::StatusOr<core::Duration> TtlFromProto(const google::protobuf::Duration& span);

// A fault of a message that stands in `field` of another: it names the path to its own field.
absl::Status Within(const char* field, const absl::Status& fault);

// For the tenant that it names, or the caller's own.
// Fails with: FIELD_INVALID; PERMISSION_DENIED, if the caller may not act for that tenant.
absl::StatusOr<core::AcquireRequest> FromProto(const v1::AcquireRequest& request, const Caller& caller);

absl::StatusOr<core::Disposition> FromProto(v1::Disposition disposition);

// A tenant that `field` names.
absl::Status CheckTenant(const std::string& name, const char* field);

// `reason` of the operator's requests.
absl::Status CheckReason(const std::string& reason);

// What an operator's request without a pool's name is told.
absl::Status PoolNotNamed(const char* field);

// What operators ask of a pool.
absl::Status CheckRenewPool(const v1::RenewPool& request);
absl::StatusOr<core::LeaseFilter> FromProto(const v1::ExpireLeases& request);
absl::StatusOr<core::Lessor::OldConnections> FromProto(const v1::ExpireConnections& request);
// Whether a reset is to end leases.
absl::StatusOr<bool> ForceFromProto(const v1::ResetRequest& request);

v1::RenewedPool RenewedPoolOf(const core::PoolReport& report);
v1::ResetResponse ResetResponseOf(const core::PoolReport& report);
v1::ExpireResponse ToProto(const core::Lessor::Expired& expired, const core::Lessor& lessor);

void ToProto(const core::LeaseView& lease, const core::Lessor& lessor, v1::Lease& proto);

v1::ConnectionStats ToProto(const core::PoolView::Row& row, core::Time now, core::WallTime now_wall,
                            const core::Lessor& lessor);
void ToProto(const core::Lessor::Released& released, const core::Lessor& lessor, v1::ReleaseResponse& proto);

v1::PoolStats ToProto(const core::PoolView& pool, const core::Lessor& lessor, bool omit_connections);

}  // namespace pglessor::rpc
