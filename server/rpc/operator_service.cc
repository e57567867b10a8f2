#include "pglessor/v1/operator_service.grpc.pb.h"
#include "server/rpc/services.h"
#include "server/rpc/status.h"

namespace pglessor::rpc {
namespace {

// A unary method that is refused with the name of what is not built yet.
template <typename Request, typename Response, typename Listen>
typename UnaryCall<Request, Response>::Method NotBuilt(const char* name, Listen listen) {
  return {listen, [name](const std::shared_ptr<UnaryCall<Request, Response>>& call) {
            call->Fail(ToGrpc(NotBuiltYet(name)));
          }};
}

class OperatorServiceImpl : public Service {
 public:
  grpc::Service& service() override { return async_; }

  void Serve(CallQueue& queue, const Backend&) override {
    ListLeases::Serve(queue, list_leases_);
    ListConnections::Serve(queue, list_connections_);
    WatchEvents::Serve(queue, watch_events_);
    PausePool::Serve(queue, pause_pool_);
    ResumePool::Serve(queue, resume_pool_);
    UpdatePool::Serve(queue, update_pool_);
    Drain::Serve(queue, drain_);
    InjectFault::Serve(queue, inject_fault_);
  }

 private:
  using ListLeases = UnaryCall<v1::ListLeasesRequest, v1::ListLeasesResponse>;
  using ListConnections = UnaryCall<v1::ListConnectionsRequest, v1::ListConnectionsResponse>;
  using PausePool = UnaryCall<v1::PausePoolRequest, v1::PausePoolResponse>;
  using ResumePool = UnaryCall<v1::ResumePoolRequest, v1::ResumePoolResponse>;
  using UpdatePool = UnaryCall<v1::UpdatePoolRequest, v1::UpdatePoolResponse>;
  using Drain = UnaryCall<v1::DrainRequest, v1::DrainResponse>;
  using InjectFault = UnaryCall<v1::InjectFaultRequest, v1::InjectFaultResponse>;

  // Of WatchEvents, the one stream: its request is read with its call.
  class WatchEvents : public Call {
   public:
    struct Method {
      v1::OperatorService::AsyncService& async;
    };
    WatchEvents(CallQueue& queue, const Method& method) : Call(queue), method_(method), writer_(&context()) {}
    static void Serve(CallQueue& queue, const Method& method) {
      std::make_shared<WatchEvents>(queue, method)->Start();
    }

   protected:
    void Listen(void* tag) override {
      auto* const completion = queue().queue.get();
      method_.async.RequestWatchEvents(&context(), &request_, &writer_, completion, completion, tag);
    }
    void ListenAgain() override { Serve(queue(), method_); }
    const google::protobuf::Message& Asked() const override { return request_; }
    void Refuse(const grpc::Status& why) override { writer_.Finish(why, FinishTag()); }
    void OnRequest() override { Refuse(ToGrpc(NotBuiltYet("WatchEvents"))); }
    void OnDone(bool) override {}

   private:
    const Method& method_;
    v1::WatchEventsRequest request_;
    grpc::ServerAsyncWriter<v1::WatchEventsResponse> writer_;
  };

  v1::OperatorService::AsyncService async_;

  const ListLeases::Method list_leases_ = NotBuilt<v1::ListLeasesRequest, v1::ListLeasesResponse>(
      "ListLeases", [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestListLeases(context, request, responder, queue, queue, tag);
      });
  const ListConnections::Method list_connections_ =
      NotBuilt<v1::ListConnectionsRequest, v1::ListConnectionsResponse>(
          "ListConnections", [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
            async_.RequestListConnections(context, request, responder, queue, queue, tag);
          });
  const PausePool::Method pause_pool_ = NotBuilt<v1::PausePoolRequest, v1::PausePoolResponse>(
      "PausePool", [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestPausePool(context, request, responder, queue, queue, tag);
      });
  const ResumePool::Method resume_pool_ = NotBuilt<v1::ResumePoolRequest, v1::ResumePoolResponse>(
      "ResumePool", [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestResumePool(context, request, responder, queue, queue, tag);
      });
  const UpdatePool::Method update_pool_ = NotBuilt<v1::UpdatePoolRequest, v1::UpdatePoolResponse>(
      "UpdatePool", [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestUpdatePool(context, request, responder, queue, queue, tag);
      });
  const Drain::Method drain_ = NotBuilt<v1::DrainRequest, v1::DrainResponse>(
      "Drain", [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestDrain(context, request, responder, queue, queue, tag);
      });
  const InjectFault::Method inject_fault_ = NotBuilt<v1::InjectFaultRequest, v1::InjectFaultResponse>(
      "InjectFault", [this](auto* context, auto* request, auto* responder, auto* queue, void* tag) {
        async_.RequestInjectFault(context, request, responder, queue, queue, tag);
      });
  const WatchEvents::Method watch_events_{async_};
};

}  // namespace

std::unique_ptr<Service> MakeOperatorService() { return std::make_unique<OperatorServiceImpl>(); }

}  // namespace pglessor::rpc
