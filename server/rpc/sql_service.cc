#include <optional>

#include "pglessor/v1/sql_service.grpc.pb.h"
#include "server/rpc/execute_call.h"
#include "server/rpc/services.h"
#include "server/rpc/session_call.h"

namespace pglessor::rpc {
namespace {

class SqlServiceImpl : public Service {
 public:
  grpc::Service& service() override { return async_; }

  void Serve(CallQueue& queue, const Backend& backend) override {
    execute_.emplace(
        ExecuteCall::Method{[this](auto* context, auto* request, auto* writer, auto* completion, void* tag) {
                              async_.RequestExecute(context, request, writer, completion, completion, tag);
                            },
                            backend.lessor});
    session_.emplace(SessionCall::Method{[this](auto* context, auto* stream, auto* completion, void* tag) {
                                           async_.RequestSession(context, stream, completion, completion,
                                                                 tag);
                                         },
                                         backend.lessor});
    ExecuteCall::Serve(queue, *execute_);
    SessionCall::Serve(queue, *session_);
  }

 private:
  // A Session's messages come and go as bytes: session_message.h says why.
  v1::SqlService::WithAsyncMethod_Execute<v1::SqlService::WithRawMethod_Session<v1::SqlService::Service>>
      async_;
  // Set by Serve.
  std::optional<ExecuteCall::Method> execute_;
  std::optional<SessionCall::Method> session_;
};

}  // namespace

std::unique_ptr<Service> MakeSqlService() { return std::make_unique<SqlServiceImpl>(); }

}  // namespace pglessor::rpc
