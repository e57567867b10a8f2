// What a probe and a generic client find: health by name, and every service's description by reflection.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "gtest/gtest.h"

#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using testing::IsSupersetOf;

class HealthTest : public SystemTest {
 protected:
  // What health says of `service`; the failure's code below zero.
  int Health(const std::string& service) {
    const Client::Context context = Client::NewContext();
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    const auto stub = grpc::health::v1::Health::NewStub(client().channel());
    const grpc::Status status = stub->Check(context.get(), request, &response);
    return status.ok() ? response.status() : -status.error_code();
  }

  grpc::reflection::v1alpha::ServerReflectionResponse Reflect(
      const grpc::reflection::v1alpha::ServerReflectionRequest& request) {
    const Client::Context context = Client::NewContext();
    const auto stub = grpc::reflection::v1alpha::ServerReflection::NewStub(client().channel());
    const auto stream = stub->ServerReflectionInfo(context.get());
    grpc::reflection::v1alpha::ServerReflectionResponse response;
    stream->Write(request);
    stream->WritesDone();
    if (!stream->Read(&response)) response.mutable_error_response();
    const grpc::Status status = stream->Finish();
    if (!status.ok()) response.mutable_error_response()->set_error_code(status.error_code());
    return response;
  }
};

TEST_F(HealthTest, EachServiceServes) {
  Serve(1, 1);
  for (const char* service :
       {"", "pglessor.v1.LeaseService", "pglessor.v1.SqlService", "pglessor.v1.OperatorService"}) {
    EXPECT_EQ(Health(service), HealthCheckResponse::SERVING) << service;
  }
  EXPECT_EQ(Health("pglessor.v1.Nothing"), -StatusCode::NOT_FOUND);
}

// What a load balancer looks at.
TEST_F(HealthTest, AWatchIsToldOfADrainAndEndsWithTheServer) {
  Serve(1, 1, {"--drain-timeout=30s"});
  const auto held = client().Acquire();
  ASSERT_THAT(held, IsOk());
  const auto stub = grpc::health::v1::Health::NewStub(client().channel());
  const Client::Context context = Client::NewContext();
  const auto watch = stub->Watch(context.get(), HealthCheckRequest());
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  server().process().Signal(SIGTERM);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  ASSERT_THAT(client().Release(held.response.lease_token()), IsOk());
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST_F(HealthTest, AWatchOfAnUnknownServiceSaysSoAndGoesOn) {
  Serve(1, 1);
  const auto stub = grpc::health::v1::Health::NewStub(client().channel());
  const Client::Context context = Client::NewContext();
  HealthCheckRequest request;
  request.set_service("pglessor.v1.Nothing");
  const auto watch = stub->Watch(context.get(), request);
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  context->TryCancel();
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), StatusCode::CANCELLED);
  EXPECT_EQ(Health(""), HealthCheckResponse::SERVING);
}

TEST_F(HealthTest, ReflectionKnowsEveryServiceAndWhatTheyAreMadeOf) {
  Serve(1, 1);
  grpc::reflection::v1alpha::ServerReflectionRequest request;
  request.set_list_services("");
  std::vector<std::string> names;
  const auto list = Reflect(request);
  for (const auto& service : list.list_services_response().service()) {
    names.push_back(service.name());
  }
  const std::vector<std::string> services = {"pglessor.v1.LeaseService", "pglessor.v1.SqlService",
                                             "pglessor.v1.OperatorService", "grpc.health.v1.Health"};
  EXPECT_THAT(names, IsSupersetOf(services));
  for (const std::string& service : services) {
    request.set_file_containing_symbol(service);
    const auto answer = Reflect(request);
    EXPECT_FALSE(answer.has_error_response()) << service;
    EXPECT_GT(answer.file_descriptor_response().file_descriptor_proto_size(), 0) << service;
  }
}

TEST_F(HealthTest, ReflectionCanBeTurnedOff) {
  Serve(1, 1, {"--reflection=false"});
  grpc::reflection::v1alpha::ServerReflectionRequest request;
  request.set_list_services("");
  EXPECT_EQ(Reflect(request).error_response().error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Health(""), HealthCheckResponse::SERVING);
}

}  // namespace
}  // namespace pglessor::system
