#include "tests/system/support/client.h"

#include <grpcpp/support/client_interceptor.h>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/system/support/eventually.h"

namespace pglessor::system {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

// Runs a unary method of a stub to its end.
template <typename Response, typename Stub, typename Request>
Answer<Response> Call(Stub& stub,
                      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                      const Request& request, grpc::ClientContext* context) {
  const Client::Context own = Client::NewContext();
  Answer<Response> answer;
  const grpc::Status status =
      (stub.*method)(context == nullptr ? own.get() : context, request, &answer.response);
  static_cast<Outcome&>(answer) = OutcomeOf(status);
  return answer;
}

// Puts a secret into each call of a channel.
class WithSecret : public grpc::experimental::Interceptor,
                   public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit WithSecret(const std::string& secret) : secret_(secret) {}

  grpc::experimental::Interceptor* CreateClientInterceptor(grpc::experimental::ClientRpcInfo*) override {
    return new WithSecret(secret_);
  }
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            grpc::experimental::InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", absl::StrCat("Bearer ", secret_));
    }
    methods->Proceed();
  }

 private:
  const std::string secret_;
};

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address, const Access& access) {
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  if (!access.secret.empty()) interceptors.push_back(std::make_unique<WithSecret>(access.secret));
  return grpc::experimental::CreateCustomChannelWithInterceptors(address, access.credentials, {},
                                                                 std::move(interceptors));
}

template <typename Time>
nanoseconds InNanoseconds(const Time& time) {
  return seconds(time.seconds()) + nanoseconds(time.nanos());
}

}  // namespace

std::string Result::Value() const {
  if (!ok()) return (std::ostringstream() << static_cast<const Outcome&>(*this)).str();
  if (rows.size() != 1 || rows[0].values_size() != 1) {
    return absl::StrCat(rows.size(), " rows, not one value");
  }
  return rows[0].values(0).ShortDebugString();
}

v1::Value Null() {
  v1::Value value;
  value.set_null_value(google::protobuf::NULL_VALUE);
  return value;
}

v1::Value Bool(bool value) {
  v1::Value proto;
  proto.set_bool_value(value);
  return proto;
}

v1::Value Int(int64_t value) {
  v1::Value proto;
  proto.set_int_value(value);
  return proto;
}

v1::Value Double(double value) {
  v1::Value proto;
  proto.set_double_value(value);
  return proto;
}

v1::Value Text(const std::string& value) {
  v1::Value proto;
  proto.set_text_value(value);
  return proto;
}

v1::Value Bytes(const std::string& value) {
  v1::Value proto;
  proto.set_bytes_value(value);
  return proto;
}

google::protobuf::Duration Span(nanoseconds span) {
  google::protobuf::Duration proto;
  proto.set_seconds(span / seconds(1));
  proto.set_nanos(static_cast<int32_t>((span % seconds(1)).count()));
  return proto;
}

nanoseconds Nanoseconds(const google::protobuf::Duration& span) { return InNanoseconds(span); }
nanoseconds Nanoseconds(const google::protobuf::Timestamp& time) { return InNanoseconds(time); }

v1::AcquireRequest AcquireFor(std::chrono::milliseconds ttl) {
  v1::AcquireRequest request;
  *request.mutable_ttl() = Span(ttl);
  return request;
}

v1::ExecuteRequest Statement(const std::string& token, const std::string& sql,
                             const std::vector<v1::Value>& params) {
  v1::ExecuteRequest request;
  request.set_lease_token(token);
  request.set_sql(sql);
  request.mutable_params()->Add(params.begin(), params.end());
  return request;
}

Client::Client(const std::string& address, const Access& access)
    : channel_(NewChannel(address, access)),
      leases_(v1::LeaseService::NewStub(channel_)),
      sql_(v1::SqlService::NewStub(channel_)) {}

Client::Context Client::NewContext() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kPatience);
  return context;
}

Answer<v1::AcquireResponse> Client::Acquire(const v1::AcquireRequest& request, grpc::ClientContext* context) {
  return Call(*leases_, &v1::LeaseService::Stub::Acquire, request, context);
}

Answer<v1::ReleaseResponse> Client::Release(const v1::ReleaseRequest& request) {
  return Call(*leases_, &v1::LeaseService::Stub::Release, request, nullptr);
}

Answer<v1::ReleaseResponse> Client::Release(const std::string& token) {
  v1::ReleaseRequest request;
  request.set_lease_token(token);
  return Release(request);
}

Answer<v1::RenewResponse> Client::Renew(const v1::RenewRequest& request) {
  return Call(*leases_, &v1::LeaseService::Stub::Renew, request, nullptr);
}

Answer<v1::RenewResponse> Client::Renew(const std::string& token) {
  v1::RenewRequest request;
  request.set_lease_token(token);
  return Renew(request);
}

Answer<v1::ExpireResponse> Client::Expire(const v1::ExpireRequest& request) {
  return Call(*leases_, &v1::LeaseService::Stub::Expire, request, nullptr);
}

Answer<v1::ExpireResponse> Client::Expire(const std::string& token) {
  v1::ExpireRequest request;
  request.set_lease_token(token);
  return Expire(request);
}

Answer<v1::ResetResponse> Client::Reset(const v1::ResetRequest& request) {
  return Call(*leases_, &v1::LeaseService::Stub::Reset, request, nullptr);
}

Answer<v1::ResetResponse> Client::Reset(v1::ResetMode mode) {
  v1::ResetRequest request;
  request.set_pool("default");
  request.set_mode(mode);
  return Reset(request);
}

Answer<v1::StatsResponse> Client::StatsOf(const v1::StatsRequest& request) {
  auto answer = Call(*leases_, &v1::LeaseService::Stub::Stats, request, nullptr);
  for (const v1::PoolStats& pool : answer.response.pools()) CheckSums(pool);
  return answer;
}

v1::PoolStats Client::Stats() {
  v1::StatsRequest request;
  request.set_pool("default");
  const Answer<v1::StatsResponse> answer = StatsOf(request);
  EXPECT_TRUE(answer.ok()) << answer;
  EXPECT_EQ(answer.response.pools_size(), 1);
  if (answer.response.pools_size() != 1) return {};
  const v1::PoolStats& stats = answer.response.pools(0);
  EXPECT_LE(stats.total(), stats.max_connections()) << stats.ShortDebugString();
  return stats;
}

Result Client::Execute(const v1::ExecuteRequest& request, grpc::ClientContext* context) {
  const Context own = NewContext();
  const auto reader = sql_->Execute(context == nullptr ? own.get() : context, request);
  Result result;
  int headers = 0, summaries = 0;
  for (v1::ExecuteResponse part; reader->Read(&part); part.Clear()) {
    EXPECT_EQ(summaries, 0) << "the summary is the last";
    EXPECT_EQ(headers, part.has_header() ? 0 : 1) << "the header is the first";
    if (part.has_header()) {
      ++headers;
      result.header = part.header();
    } else if (part.has_summary()) {
      ++summaries;
      result.summary = part.summary();
    } else {
      result.batches.push_back(part.rows().rows_size());
      for (v1::Row& row : *part.mutable_rows()->mutable_rows()) result.rows.push_back(std::move(row));
    }
  }
  static_cast<Outcome&>(result) = OutcomeOf(reader->Finish());
  EXPECT_EQ(summaries, result.ok() ? 1 : 0) << result;
  return result;
}

Result Client::Execute(const std::string& token, const std::string& sql,
                       const std::vector<v1::Value>& params) {
  return Execute(Statement(token, sql, params));
}

void CheckSums(const v1::PoolStats& stats) {
  const v1::Counters& counters = stats.counters();
  const std::string all = stats.ShortDebugString();
  EXPECT_EQ(stats.total(), stats.available() + stats.in_use() + stats.opening() + stats.cleaning() +
                               stats.retiring() + stats.stuck())
      << all;
  EXPECT_EQ(counters.acquires_requested(), counters.granted() + counters.timed_out() + counters.cancelled() +
                                               counters.rejected() + stats.waiting())
      << all;
  EXPECT_EQ(counters.granted(), stats.in_use() + counters.released() + counters.expired() +
                                    counters.revoked() + counters.reset() + counters.lost() +
                                    counters.unclaimed() + counters.drained())
      << all;
}

}  // namespace pglessor::system
