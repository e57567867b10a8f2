#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>

#include "pglessor/v1/operator_service.grpc.pb.h"
#include "server/core/error.h"
#include "server/rpc/convert.h"
#include "server/rpc/convert_operator.h"
#include "server/rpc/convert_settings.h"
#include "server/rpc/page_token.h"
#include "server/rpc/services.h"
#include "server/rpc/status.h"
#include "server/rpc/watch_call.h"

namespace pglessor::rpc {
namespace {

// Clients take answers of 4 MiB by default: a page of rows with many tags is cut before.
constexpr size_t kMaxPageBytes = 3 << 20;

template <typename Request, typename Response>
void Answer(UnaryCall<Request, Response>& call, const absl::StatusOr<Response>& response) {
  if (response.ok()) {
    call.Finish(*response);
  } else {
    call.Fail(ToGrpc(response.status()));
  }
}

// Whose rows `caller`, who outlives it, may see; null: all.
std::function<bool(absl::string_view)> SightOf(const Caller& caller) {
  if (caller.SeesEverything()) return nullptr;
  return [&caller](absl::string_view tenant) { return caller.Sees(tenant); };
}

absl::Status FaultInjectionOff() {
  return core::MakeError(absl::StatusCode::kUnimplemented,
                         "faults can be injected only where the server was started with "
                         "--enable-fault-injection",
                         {.reason = core::reason::kFaultInjectionOff});
}

absl::Status PoolNotNamed() {
  return core::FieldInvalid("pool", "expected a pool's name: an operator names what is touched");
}

uint64_t NewSeed() {
  std::random_device random;
  return (uint64_t{random()} << 32) | random();
}

class OperatorServiceImpl : public Service {
 public:
  grpc::Service& service() override { return async_; }

  void Serve(CallQueue& queue, const Backend& backend) override {
    lessor_ = &backend.lessor;
    faults_ = backend.faults;
    drain_server_ = backend.drain;
    page_tokens_.emplace(lessor_->replica());
    ListLeasesCall::Serve(queue, list_leases_);
    ListConnectionsCall::Serve(queue, list_connections_);
    watches_.emplace(queue, backend.history);
    watch_events_.emplace(
        WatchCall::Method{[this](auto* context, auto* request, auto* writer, auto* completion, void* tag) {
                            async_.RequestWatchEvents(context, request, writer, completion, completion, tag);
                          },
                          backend.lessor, *watches_});
    WatchCall::Serve(queue, *watch_events_);
    PausePoolCall::Serve(queue, pause_pool_);
    ResumePoolCall::Serve(queue, resume_pool_);
    UpdatePoolCall::Serve(queue, update_pool_);
    DrainCall::Serve(queue, drain_);
    InjectFaultCall::Serve(queue, inject_fault_);
  }

 private:
  using ListLeasesCall = UnaryCall<v1::ListLeasesRequest, v1::ListLeasesResponse>;
  using ListConnectionsCall = UnaryCall<v1::ListConnectionsRequest, v1::ListConnectionsResponse>;
  using PausePoolCall = UnaryCall<v1::PausePoolRequest, v1::PausePoolResponse>;
  using ResumePoolCall = UnaryCall<v1::ResumePoolRequest, v1::ResumePoolResponse>;
  using UpdatePoolCall = UnaryCall<v1::UpdatePoolRequest, v1::UpdatePoolResponse>;
  using DrainCall = UnaryCall<v1::DrainRequest, v1::DrainResponse>;
  using InjectFaultCall = UnaryCall<v1::InjectFaultRequest, v1::InjectFaultResponse>;

  absl::StatusOr<v1::ListLeasesResponse> ListLeases(const ListLeasesCall& call) {
    const v1::ListLeasesRequest& request = call.request();
    const absl::StatusOr<size_t> size = PageSizeFromProto(request.page_size());
    if (!size.ok()) return size.status();
    absl::StatusOr<core::LeaseQuery> query = FromProto(request);
    if (!query.ok()) return query.status();
    query->filter.sees = SightOf(call.caller());
    const auto behind = page_tokens_->Read(*query, request.page_token());
    if (!behind.ok()) return behind.status();
    const absl::StatusOr<core::LeasePage> page = lessor_->ListLeases(*query, *behind, *size);
    if (!page.ok()) return page.status();
    v1::ListLeasesResponse response;
    std::optional<core::LeaseCounter> next_behind = page->next_behind;
    size_t bytes = 0;
    for (const core::LeaseView& lease : page->leases) {
      ToProto(lease, *lessor_, *response.add_leases());
      bytes += response.leases().rbegin()->ByteSizeLong();
      if (bytes < kMaxPageBytes) continue;
      next_behind = lease.grant.counter;
      break;
    }
    if (next_behind) response.set_next_page_token(page_tokens_->TokenOf(*query, *next_behind));
    return response;
  }

  absl::StatusOr<v1::ListConnectionsResponse> ListConnections(const ListConnectionsCall& call) {
    const v1::ListConnectionsRequest& request = call.request();
    const absl::StatusOr<size_t> size = PageSizeFromProto(request.page_size());
    if (!size.ok()) return size.status();
    absl::StatusOr<core::ConnectionQuery> query = FromProto(request);
    if (!query.ok()) return query.status();
    query->filter.sees = SightOf(call.caller());
    const auto behind = page_tokens_->Read(*query, request.page_token());
    if (!behind.ok()) return behind.status();
    const absl::StatusOr<core::ConnectionPage> page = lessor_->ListConnections(*query, *behind, *size);
    if (!page.ok()) return page.status();
    v1::ListConnectionsResponse response;
    std::optional<core::ConnectionPlace> next_behind = page->next_behind;
    size_t bytes = 0;
    for (const core::ListedConnection& connection : page->connections) {
      *response.add_connections() = ToProto(connection, *lessor_);
      bytes += response.connections().rbegin()->ByteSizeLong();
      if (bytes < kMaxPageBytes) continue;
      next_behind = core::ConnectionPlace{connection.pool, connection.row.slot.index};
      break;
    }
    if (next_behind) response.set_next_page_token(page_tokens_->TokenOf(*query, *next_behind));
    return response;
  }

  absl::StatusOr<v1::PausePoolResponse> PausePool(const v1::PausePoolRequest& request) {
    if (request.pool().empty()) return PoolNotNamed();
    if (absl::Status reason = CheckReason(request.reason()); !reason.ok()) return reason;
    const absl::StatusOr<core::Pool::Pausing> pausing = lessor_->PausePool(request.pool(), request.reason());
    if (!pausing.ok()) return pausing.status();
    v1::PausePoolResponse response;
    response.set_already_paused(!pausing->changed);
    response.set_in_use(pausing->in_use);
    response.set_waiting(pausing->waiting);
    return response;
  }

  absl::StatusOr<v1::ResumePoolResponse> ResumePool(const v1::ResumePoolRequest& request) {
    if (request.pool().empty()) return PoolNotNamed();
    const absl::StatusOr<core::Pool::Pausing> pausing = lessor_->ResumePool(request.pool());
    if (!pausing.ok()) return pausing.status();
    v1::ResumePoolResponse response;
    response.set_was_paused(pausing->changed);
    response.set_waiting(pausing->waiting);
    return response;
  }

  absl::StatusOr<v1::UpdatePoolResponse> UpdatePool(const v1::UpdatePoolRequest& request) {
    if (request.pool().empty()) return PoolNotNamed();
    const absl::StatusOr<core::PoolOptions> after = lessor_->Reconfigure(
        request.pool(), [&](const core::PoolOptions& before) { return Changed(before, request); });
    if (!after.ok()) return after.status();
    v1::UpdatePoolResponse response;
    *response.mutable_settings() = ToProto(*after);
    return response;
  }

  absl::StatusOr<v1::DrainResponse> Drain(const v1::DrainRequest& request) {
    std::optional<core::Duration> timeout;
    if (request.has_timeout()) {
      const absl::StatusOr<core::Duration> asked = FromProto(request.timeout(), "timeout");
      if (!asked.ok()) return asked.status();
      timeout = *asked;
    }
    const DrainBegun begun = drain_server_(timeout);
    v1::DrainResponse response;
    *response.mutable_deadline_time() = ToProto(begun.deadline);
    response.set_leases(begun.leases);
    return response;
  }

  absl::StatusOr<v1::InjectFaultResponse> InjectFault(const v1::InjectFaultRequest& request) {
    if (faults_ == nullptr) return FaultInjectionOff();
    absl::StatusOr<std::optional<core::Fault>> fault = FromProto(request);
    if (!fault.ok()) return fault.status();
    if (absl::Status pool = lessor_->CheckPool(request.pool()); !pool.ok()) return pool;
    core::Faults& faults = faults_->Of(request.pool());
    v1::InjectFaultResponse response;
    if (!*fault) {
      faults.Clear();
      return response;
    }
    while ((*fault)->seed == 0) (*fault)->seed = NewSeed();
    faults.Set(**fault);
    response.set_seed((*fault)->seed);
    return response;
  }

  // Set by Serve.
  core::Lessor* lessor_ = nullptr;
  core::FaultInjection* faults_ = nullptr;  // null where it is off
  std::function<DrainBegun(std::optional<core::Duration>)> drain_server_;
  std::optional<PageTokens> page_tokens_;
  std::optional<Watches> watches_;
  std::optional<WatchCall::Method> watch_events_;

  v1::OperatorService::AsyncService async_;

  const ListLeasesCall::Method list_leases_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestListLeases(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<ListLeasesCall>& call) { Answer(*call, ListLeases(*call)); }};
  const ListConnectionsCall::Method list_connections_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestListConnections(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<ListConnectionsCall>& call) { Answer(*call, ListConnections(*call)); }};
  const PausePoolCall::Method pause_pool_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestPausePool(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<PausePoolCall>& call) { Answer(*call, PausePool(call->request())); }};
  const ResumePoolCall::Method resume_pool_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestResumePool(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<ResumePoolCall>& call) { Answer(*call, ResumePool(call->request())); }};
  const UpdatePoolCall::Method update_pool_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestUpdatePool(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<UpdatePoolCall>& call) { Answer(*call, UpdatePool(call->request())); }};
  const DrainCall::Method drain_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestDrain(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<DrainCall>& call) { Answer(*call, Drain(call->request())); }};
  const InjectFaultCall::Method inject_fault_{
      [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestInjectFault(context, request, responder, queue, queue, tag);
      },
      [this](const std::shared_ptr<InjectFaultCall>& call) { Answer(*call, InjectFault(call->request())); }};
};

}  // namespace

std::unique_ptr<Service> MakeOperatorService() { return std::make_unique<OperatorServiceImpl>(); }

}  // namespace pglessor::rpc
