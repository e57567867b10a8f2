#include <unistd.h>

#include <algorithm>
#include <utility>

#include "pglessor/v1/lease_service.grpc.pb.h"
#include "server/core/error.h"
#include "server/rpc/block_message.h"
#include "server/rpc/convert.h"
#include "server/rpc/services.h"
#include "server/rpc/status.h"

namespace pglessor::rpc {
namespace {

using AcquireCall = UnaryCall<v1::AcquireRequest, v1::AcquireResponse>;
using ReleaseCall = UnaryCall<v1::ReleaseRequest, v1::ReleaseResponse>;
using RenewCall = UnaryCall<v1::RenewRequest, v1::RenewResponse>;
using ExpireCall = UnaryCall<v1::ExpireRequest, v1::ExpireResponse>;
using ResetCall = UnaryCall<v1::ResetRequest, v1::ResetResponse>;
using StatsCall = UnaryCall<v1::StatsRequest, v1::StatsResponse>;

class LeaseServiceImpl : public Service {
 public:
  explicit LeaseServiceImpl(std::string version) : version_(std::move(version)) {}

  grpc::Service& service() override { return async_; }

  void Serve(CallQueue& queue, const Backend& backend) override {
    queue_ = &queue;
    lessor_ = &backend.lessor;
    clock_ = &backend.clock;
    started_ = clock_->Now();
    started_wall_ = clock_->WallNow();
    AcquireCall::Serve(queue, acquire_);
    ReleaseCall::Serve(queue, release_);
    RenewCall::Serve(queue, renew_);
    ExpireCall::Serve(queue, expire_);
    ResetCall::Serve(queue, reset_);
    StatsCall::Serve(queue, stats_);
  }

 private:
  void Acquire(const std::shared_ptr<AcquireCall>& call) {
    absl::StatusOr<core::AcquireRequest> request = FromProto(call->request(), call->caller());
    if (!request.ok()) {
      call->Fail(ToGrpc(request.status()));
      return;
    }
    core::Lessor::AttemptRef attempt =
        lessor_->Acquire(*std::move(request), [this, call](const absl::StatusOr<core::LeaseView>& lease) {
          if (!lease.ok()) {
            call->Fail(ToGrpc(lease.status()));
            return;
          }
          BlockMessage<v1::AcquireResponse> response;
          ToProto(*lease, *lessor_, *response->mutable_lease());
          response->set_lease_token(lessor_->TokenOf(lease->grant));
          call->Finish(*response);
        });
    // The queue's thread is here, so that the call cannot be over before this.
    call->WhenDone(
        [this, attempt = std::move(attempt)](bool delivered) { lessor_->Over(attempt, delivered); });
  }

  void Release(const std::shared_ptr<ReleaseCall>& call) {
    const absl::StatusOr<core::Disposition> disposition = FromProto(call->request().disposition());
    const absl::StatusOr<core::LeaseCounter> lease =
        Prove(call->caller(), *lessor_, call->request().lease_token());
    if (!disposition.ok() || !lease.ok()) {
      call->Fail(ToGrpc(disposition.ok() ? lease.status() : disposition.status()));
      return;
    }
    lessor_->Release(*lease, *disposition,
                     [this, call](const absl::StatusOr<core::Lessor::Released>& released) {
                       if (!released.ok()) {
                         call->Fail(ToGrpc(released.status()));
                         return;
                       }
                       BlockMessage<v1::ReleaseResponse> response;
                       ToProto(*released, *lessor_, *response);
                       call->Finish(*response);
                     });
  }

  void Renew(const std::shared_ptr<RenewCall>& call) {
    if (call->request().subject_case() == v1::RenewRequest::kPool) {
      RenewPool(call);
      return;
    }
    const absl::StatusOr<core::LeaseView> lease = RenewLease(call->request(), call->caller());
    if (!lease.ok()) {
      call->Fail(ToGrpc(lease.status()));
      return;
    }
    BlockMessage<v1::RenewResponse> response;
    ToProto(*lease, *lessor_, *response->mutable_lease());
    call->Finish(*response);
  }

  absl::StatusOr<core::LeaseView> RenewLease(const v1::RenewRequest& request, const Caller& caller) {
    if (!request.has_lease_token()) return core::FieldInvalid("subject", "expected lease_token, or pool");
    std::optional<core::Duration> ttl;
    if (request.has_ttl()) {
      const absl::StatusOr<core::Duration> asked = TtlFromProto(request.ttl());
      if (!asked.ok()) return asked.status();
      ttl = *asked;
    }
    const absl::StatusOr<core::LeaseCounter> lease = Prove(caller, *lessor_, request.lease_token());
    if (!lease.ok()) return lease.status();
    return lessor_->Renew(*lease, ttl);
  }

  void RenewPool(const std::shared_ptr<RenewCall>& call) {
    const v1::RenewPool& request = call->request().pool();
    if (absl::Status fault = CheckRenewPool(request); !fault.ok()) {
      call->Fail(ToGrpc(fault));
      return;
    }
    lessor_->RenewPool(request.pool(), request.target(),
                       [call](const absl::StatusOr<core::PoolReport>& report) {
                         if (!report.ok()) {
                           call->Fail(ToGrpc(report.status()));
                           return;
                         }
                         v1::RenewResponse response;
                         *response.mutable_pool() = RenewedPoolOf(*report);
                         call->Finish(response);
                       });
  }

  void Expire(const std::shared_ptr<ExpireCall>& call) {
    if (absl::Status fault = StartExpire(call); !fault.ok()) call->Fail(ToGrpc(fault));
  }

  // Not OK: the answer. Else it comes later.
  absl::Status StartExpire(const std::shared_ptr<ExpireCall>& call) {
    const v1::ExpireRequest& request = call->request();
    const std::string& why = request.reason();
    const bool validate_only = request.validate_only();
    if (absl::Status fault = CheckReason(why); !fault.ok()) return fault;
    core::Lessor::ExpireDone done = [this, call](const absl::StatusOr<core::Lessor::Expired>& expired) {
      if (!expired.ok()) {
        call->Fail(ToGrpc(expired.status()));
        return;
      }
      call->Finish(ToProto(*expired, *lessor_));
    };
    switch (request.subject_case()) {
      case v1::ExpireRequest::kLeaseToken: {
        const absl::StatusOr<core::LeaseCounter> lease =
            Prove(call->caller(), *lessor_, request.lease_token());
        if (!lease.ok()) return lease.status();
        lessor_->Expire(*lease, {core::EndReason::kExpired, core::Disposition::kReturn, why}, validate_only,
                        std::move(done));
        return absl::OkStatus();
      }
      case v1::ExpireRequest::kLeaseId: {
        const absl::StatusOr<core::LeaseCounter> lease = lessor_->Find(request.lease_id());
        if (!lease.ok()) return lease.status();
        lessor_->Expire(*lease, {core::EndReason::kRevoked, core::Disposition::kReturn, why}, validate_only,
                        std::move(done));
        return absl::OkStatus();
      }
      case v1::ExpireRequest::kLeases: {
        const absl::StatusOr<core::LeaseFilter> filter = FromProto(request.leases());
        if (!filter.ok()) return filter.status();
        lessor_->ExpireLeases(*filter, why, validate_only, std::move(done));
        return absl::OkStatus();
      }
      case v1::ExpireRequest::kConnections: {
        const absl::StatusOr<core::Lessor::OldConnections> which = FromProto(request.connections());
        if (!which.ok()) return which.status();
        lessor_->ExpireConnections(*which, why, validate_only, std::move(done));
        return absl::OkStatus();
      }
      case v1::ExpireRequest::SUBJECT_NOT_SET:
        break;
    }
    return core::FieldInvalid("subject", "expected lease_token, lease_id, leases, or connections");
  }

  void Reset(const std::shared_ptr<ResetCall>& call) {
    const v1::ResetRequest& request = call->request();
    const absl::StatusOr<bool> force = ForceFromProto(request);
    if (!force.ok()) {
      call->Fail(ToGrpc(force.status()));
      return;
    }
    lessor_->Reset(request.pool(), *force, request.reason(),
                   [call](const absl::StatusOr<core::PoolReport>& report) {
                     if (!report.ok()) {
                       call->Fail(ToGrpc(report.status()));
                       return;
                     }
                     call->Finish(ResetResponseOf(*report));
                   });
  }

  void Stats(const std::shared_ptr<StatsCall>& call) {
    const absl::StatusOr<std::vector<core::PoolView>> pools = lessor_->Stats(call->request().pool());
    if (!pools.ok()) {
      call->Fail(ToGrpc(pools.status()));
      return;
    }
    v1::StatsResponse response;
    for (const core::PoolView& pool : *pools) {
      v1::PoolStats& stats = *response.add_pools();
      stats = ToProto(pool, *lessor_, call->request().omit_connections());
      KeepSeen(call->caller(), stats);
    }
    v1::ServerInfo& server = *response.mutable_server();
    server.set_version(version_);
    *server.mutable_start_time() = ToProto(started_wall_);
    *server.mutable_uptime() = ToProto(clock_->Now() - started_);
    server.set_replica(lessor_->replica().name);
    server.set_pid(getpid());
    server.set_open_calls(queue_->open_calls);
    call->Finish(response);
  }

  // Drops the rows that are not for this caller.
  void KeepSeen(const Caller& caller, v1::PoolStats& stats) {
    if (caller.SeesEverything()) return;
    auto& connections = *stats.mutable_connections();
    connections.erase(std::remove_if(connections.begin(), connections.end(),
                                     [&](const v1::ConnectionStats& connection) {
                                       return !IsOfSeen(caller, connection.lease_id());
                                     }),
                      connections.end());
    auto& tenants = *stats.mutable_tenants();
    tenants.erase(
        std::remove_if(tenants.begin(), tenants.end(),
                       [&](const v1::TenantStats& tenant) { return !caller.Sees(tenant.tenant()); }),
        tenants.end());
  }

  bool IsOfSeen(const Caller& caller, const std::string& lease_id) {
    const absl::StatusOr<core::LeaseCounter> lease = lessor_->Find(lease_id);
    const auto tenant = lease.ok() ? lessor_->TenantOf(*lease) : std::nullopt;
    return tenant && caller.Sees(*tenant);
  }

  const std::string version_;
  // Set by Serve.
  CallQueue* queue_ = nullptr;
  core::Lessor* lessor_ = nullptr;
  const core::Clock* clock_ = nullptr;
  core::Time started_{};
  core::WallTime started_wall_{};

  v1::LeaseService::AsyncService async_;

  const AcquireCall::Method acquire_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestAcquire(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<AcquireCall>& call) { Acquire(call); }};
  const ReleaseCall::Method release_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestRelease(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<ReleaseCall>& call) { Release(call); }};
  const RenewCall::Method renew_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestRenew(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<RenewCall>& call) { Renew(call); }};
  const ExpireCall::Method expire_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestExpire(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<ExpireCall>& call) { Expire(call); }};
  const ResetCall::Method reset_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestReset(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<ResetCall>& call) { Reset(call); }};
  const StatsCall::Method stats_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestStats(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<StatsCall>& call) { Stats(call); }};
};

}  // namespace

std::unique_ptr<Service> MakeLeaseService(std::string version) {
  return std::make_unique<LeaseServiceImpl>(std::move(version));
}

}  // namespace pglessor::rpc
