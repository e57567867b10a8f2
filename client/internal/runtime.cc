#include "client/internal/runtime.h"

#include <utility>

#include "client/internal/convert.h"
#include "client/internal/status.h"

namespace pglessor::internal {
absl::StatusOr<std::shared_ptr<HeldLease>> Runtime::Acquire(const AcquireOptions& given) {
  const AcquireOptions options = Merged(given, options_.acquire);
  const bool may_be_a_repetition = !options.request_id.empty();

  HeldLease::Parts parts{.background = background_, .call_timeout = options_.call_timeout};
  grpc::ClientContext context;
  context.set_deadline(Background::DeadlineIn(AcquireTimeout(options)));
  const Time sent = BootNow();
  absl::Status status =
      FromGrpc(replicas_.home()->leases->Acquire(&context, ToProto(options), &parts.granted));
  if (!status.ok()) return status;
  const v1::Lease& lease = parts.granted.lease();
  parts.replica = replicas_.At(lease.server_address());
  // The ttl runs from the grant, which was not before the request was sent and had waited: `waited` is a
  // span by the server's steady clock, so it may be counted on ours. Without it a lease that was waited for
  // longer than its ttl would be lost on arrival.
  parts.promise = HeldLease::PromiseOf(lease, SaturatingAdd(sent, FromProto(lease.waited())));
  if (may_be_a_repetition) {
    // Then the lease may have been granted before this request was sent. A renewal tells anew.
    absl::StatusOr<LeaseTerm::Promise> promise = Renewed(*parts.replica, parts.granted.lease_token());
    if (!promise.ok()) return promise.status();
    parts.promise = *promise;
  }
  return HeldLease::Hold(std::move(parts));
}

absl::StatusOr<Summary> Runtime::Once(const Statement& statement, const AcquireOptions& given,
                                      EachRow each_row) {
  AcquireOptions options = Merged(given, options_.acquire);
  // The default is for leases that are renewed in the background; here it would be a hard end.
  options.ttl = given.ttl;
  v1::ExecuteRequest request = ToProto(statement, /*lease_token=*/"");
  *request.mutable_once() = ToProto(options);
  grpc::ClientContext context;
  context.set_deadline(Background::DeadlineIn(statement.timeout.value_or(Duration::max())));
  Answer answer = ReadAnswer(*replicas_.home()->sql, request, context, each_row);
  if (!answer.refused.ok()) return answer.refused;
  return SummaryOf(std::move(answer));
}

std::unique_ptr<SessionStream> Runtime::NewSession() {
  return std::make_unique<SessionStream>(replicas_.home(), options_.acquire);
}

absl::StatusOr<LeaseTerm::Promise> Runtime::Renewed(Replica& replica, const std::string& lease_token) {
  v1::RenewRequest request;
  request.set_lease_token(lease_token);
  v1::RenewResponse response;
  grpc::ClientContext context;
  context.set_deadline(Background::DeadlineIn(options_.call_timeout));
  const Time sent = BootNow();
  absl::Status status = FromGrpc(replica.leases->Renew(&context, request, &response));
  if (!status.ok()) return status;
  return HeldLease::PromiseOf(response.lease(), sent);
}

}  // namespace pglessor::internal
