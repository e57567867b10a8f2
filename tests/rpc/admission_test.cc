// Every row of the table of authorization over real sockets: each RPC, on each subject, by each role and by
// nobody.
#include "server/rpc/admission.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"

#include "pglessor/v1/error_details.pb.h"
#include "pglessor/v1/lease_service.grpc.pb.h"
#include "pglessor/v1/status.pb.h"
#include "server/core/events.h"
#include "server/core/lessor.h"
#include "server/rpc/authorization.h"
#include "server/rpc/rpc_server.h"
#include "tests/rpc/sha256.h"
#include "tests/support/fake_clock.h"
#include "tests/support/toy_token_key.h"

namespace pglessor::rpc {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::Message;
using google::protobuf::MessageFactory;
using google::protobuf::MethodDescriptor;
using grpc::StatusCode;
using std::chrono::milliseconds;
using test::Sha256;

constexpr milliseconds kPatience(20'000);
// Of a stream that a caller was let in to, and that may last.
constexpr milliseconds kLook(500);

// Its secret is its name.
IdentityOptions Of(const std::string& name, std::set<Role> roles) {
  return {.name = name,
          .roles = std::move(roles),
          .tenants = {"shop"},
          .secret_sha256 = Sha256(name),
          .certificates = {}};
}

// Enough for one call: it starts, says what it has to say, and ends. A stream that is let in may last; it is
// then cut off.
class RawCall {
 public:
  RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& secret) : stub_(channel) {
    if (!secret.empty()) context_.AddMetadata("authorization", absl::StrCat("Bearer ", secret));
  }

  grpc::Status Run(const MethodDescriptor& method, const Message& request, milliseconds longest) {
    context_.set_deadline(std::chrono::system_clock::now() + longest);
    call_ = stub_.PrepareCall(&context_, absl::StrCat("/", method.service()->full_name(), "/", method.name()),
                              &queue_);
    call_->StartCall(this);
    Await();
    grpc::Slice slice(request.SerializeAsString());
    call_->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), this);
    Await();
    grpc::ByteBuffer answer;
    do {
      call_->Read(&answer, this);
    } while (Await());
    grpc::Status status;
    call_->Finish(&status, this);
    Await();
    return status;
  }

 private:
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue_.Next(&tag, &ok));
    return ok;
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

std::string ReasonOf(const grpc::Status& status) {
  v1::Status details;
  v1::ErrorInfo info;
  if (!details.ParseFromString(status.error_details()) || details.details().empty()) return "";
  return info.ParseFromString(details.details(0).value()) ? info.reason() : "";
}

class AdmissionTest : public testing::Test {
 protected:
  void Start(std::vector<IdentityOptions> identities) {
    server_ = std::make_unique<RpcServer>(RpcOptions{.listen = {"127.0.0.1:0"},
                                                     .reflection = true,
                                                     .version = "test",
                                                     .identities = std::move(identities)});
    ASSERT_TRUE(server_->Listen().ok());
    server_->Serve(
        {.lessor = lessor_, .clock = clock_, .history = history_, .drain = [](std::optional<core::Duration>) {
           return DrainBegun{};
         }});
    channel_ = grpc::CreateChannel(server_->addresses().front(), grpc::InsecureChannelCredentials());
  }

  void TearDown() override {
    if (server_ != nullptr) server_->Stop(milliseconds(0));
  }

  static const MethodDescriptor& MethodOf(const Rule& rule) {
    return *DescriptorPool::generated_pool()->FindMethodByName(absl::StrCat("pglessor.v1.", rule.rpc));
  }

  // A request on that subject and otherwise empty, by who has that secret.
  grpc::Status CallOf(const Rule& rule, const std::string& secret, milliseconds longest) {
    const MethodDescriptor& method = MethodOf(rule);
    const std::unique_ptr<Message> request(
        MessageFactory::generated_factory()->GetPrototype(method.input_type())->New());
    if (*rule.subject != '\0') {
      const auto* const field = method.input_type()->FindFieldByName(rule.subject);
      if (field->message_type() != nullptr) {
        request->GetReflection()->MutableMessage(request.get(), field);
      } else {
        request->GetReflection()->SetString(request.get(), field, "x");
      }
    }
    return RawCall(channel_, secret).Run(method, *request, longest);
  }

  void ExpectRefused(const Rule& rule, const std::string& secret, StatusCode code,
                     const std::string& reason) {
    const grpc::Status status = CallOf(rule, secret, kPatience);
    EXPECT_EQ(status.error_code(), code) << rule.rpc << " " << rule.subject << " by \"" << secret << "\"";
    EXPECT_EQ(ReasonOf(status), reason) << rule.rpc << " " << rule.subject << " by \"" << secret << "\"";
  }

  void ExpectAdmitted(const Rule& rule, const std::string& secret) {
    const grpc::Status status = CallOf(rule, secret, MethodOf(rule).server_streaming() ? kLook : kPatience);
    EXPECT_NE(status.error_code(), StatusCode::UNAUTHENTICATED) << rule.rpc << " by \"" << secret << "\"";
    EXPECT_NE(ReasonOf(status), "PERMISSION_DENIED") << rule.rpc << " by \"" << secret << "\"";
  }

  test::FakeClock clock_;
  const test::ToyTokenKey key_{};
  core::Events events_;
  core::EventHistory history_{clock_, events_};
  core::Lessor lessor_{{.replica = {"test", 1}, .server_address = "", .leases = {}}, clock_, key_, events_};
  std::unique_ptr<RpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(AdmissionTest, RefusesEachRpcToWhoIsNotKnown) {
  Start({Of("operator", {Role::kOperator})});
  for (const Rule& rule : Rules()) {
    ExpectRefused(rule, "", StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED");
    ExpectRefused(rule, "wrong", StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED");
  }
}

TEST_F(AdmissionTest, RefusesEachRpcToWhoHasNoRoleForIt) {
  Start({Of("nobody", {}), Of("holder", {Role::kHolder}), Of("viewer", {Role::kViewer}),
         Of("operator", {Role::kOperator})});
  for (const Rule& rule : Rules()) {
    std::vector<std::string> refused = {"nobody"};
    if (rule.role == Role::kHolder) refused = {"nobody", "viewer", "operator"};
    if (rule.role == Role::kOperator) refused = {"nobody", "holder", "viewer"};
    for (const std::string& secret : refused) {
      ExpectRefused(rule, secret, StatusCode::PERMISSION_DENIED, "PERMISSION_DENIED");
    }
  }
}

TEST_F(AdmissionTest, AdmitsToEachRpcWhoHasTheRole) {
  Start({Of("holder", {Role::kHolder}), Of("viewer", {Role::kViewer}), Of("operator", {Role::kOperator})});
  for (const Rule& rule : Rules()) {
    if (rule.role != Role::kOperator) ExpectAdmitted(rule, "holder");
    if (rule.role == Role::kViewer) ExpectAdmitted(rule, "viewer");
    if (rule.role != Role::kHolder) ExpectAdmitted(rule, "operator");
  }
}

TEST_F(AdmissionTest, AdmitsAnybodyToEachRpcWhereNobodyIsConfigured) {
  Start({});
  for (const Rule& rule : Rules()) ExpectAdmitted(rule, "");
  ExpectAdmitted(Rules().front(), "a secret that means nothing here");
}

TEST_F(AdmissionTest, KnowsTheNewIdentitiesFromTheNextCallOn) {
  Start({Of("holder", {Role::kHolder})});
  const Rule acquire = Rules().front();
  ExpectAdmitted(acquire, "holder");
  server_->Replace({Of("another", {Role::kHolder})});
  ExpectRefused(acquire, "holder", StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED");
  ExpectAdmitted(acquire, "another");
}

TEST_F(AdmissionTest, AsksNobodyWhoHeIsForHealth) {
  Start({Of("operator", {Role::kOperator})});
  const auto health = grpc::health::v1::Health::NewStub(channel_);
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse response;
  EXPECT_TRUE(health->Check(&context, {}, &response).ok());
}

// An Acquire of another tenant is refused before anything is looked up.
TEST_F(AdmissionTest, RefusesATenantThatIsNotTheCallers) {
  Start({Of("holder", {Role::kHolder})});
  const auto leases = v1::LeaseService::NewStub(channel_);
  const auto acquire = [&](const std::string& tenant) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer holder");
    v1::AcquireRequest request;
    request.set_tenant(tenant);
    v1::AcquireResponse response;
    return ReasonOf(leases->Acquire(&context, request, &response));
  };
  EXPECT_EQ(acquire("crm"), "PERMISSION_DENIED");
  EXPECT_EQ(acquire("shop"), "POOL_NOT_FOUND");
  EXPECT_EQ(acquire(""), "POOL_NOT_FOUND");
}

}  // namespace
}  // namespace pglessor::rpc
