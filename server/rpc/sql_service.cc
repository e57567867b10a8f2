#include <optional>

#include "pglessor/v1/sql_service.grpc.pb.h"
#include "server/rpc/execute_call.h"
#include "server/rpc/services.h"
#include "server/rpc/status.h"

namespace pglessor::rpc {
namespace {

using SessionStream = grpc::ServerAsyncReaderWriter<v1::SessionResponse, v1::SessionRequest>;
using SessionCall = RefusedStream<SessionStream>;

class SqlServiceImpl : public Service {
 public:
  grpc::Service& service() override { return async_; }

  void Serve(CallQueue& queue, const Backend& backend) override {
    execute_.emplace(
        ExecuteCall::Method{[this](auto* context, auto* request, auto* writer, auto* completion, void* tag) {
                              async_.RequestExecute(context, request, writer, completion, completion, tag);
                            },
                            backend.lessor});
    ExecuteCall::Serve(queue, *execute_);
    SessionCall::Serve(queue, session_);
  }

 private:
  v1::SqlService::AsyncService async_;
  std::optional<ExecuteCall::Method> execute_;  // set by Serve
  const SessionCall::Method session_{[this](auto* context, auto* stream, auto* queue, void* tag) {
                                       async_.RequestSession(context, stream, queue, queue, tag);
                                     },
                                     ToGrpc(NotBuiltYet("Session")), v1::SessionRequest::default_instance()};
};

}  // namespace

std::unique_ptr<Service> MakeSqlService() { return std::make_unique<SqlServiceImpl>(); }

}  // namespace pglessor::rpc
