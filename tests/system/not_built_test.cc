// What the contract names and this version does not have: refused with a sentence, and never taken for done.
// As each is built, its line goes.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "pglessor/v1/operator_service.grpc.pb.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;
using Operators = v1::OperatorService::Stub;
using Leases = v1::LeaseService::Stub;

class NotBuiltTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 1); }

  static void ExpectNotBuilt(const grpc::Status& status, const std::string& name) {
    EXPECT_THAT(OutcomeOf(status), FailsWith(StatusCode::UNIMPLEMENTED, "NOT_BUILT_YET")) << name;
    EXPECT_THAT(status.error_message(), HasSubstr("not built yet")) << name;
  }

  template <typename Stub, typename Request, typename Response>
  static void ExpectNotBuilt(Stub& stub,
                             grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                             const std::string& name, const Request& request = {}) {
    const Client::Context context = Client::NewContext();
    Response response;
    ExpectNotBuilt((stub.*method)(context.get(), request, &response), name);
  }
};

TEST_F(NotBuiltTest, OfTheLeaseService) {
  Leases& leases = client().leases();
  v1::ResetRequest reset;
  reset.set_pool("default");
  ExpectNotBuilt(leases, &Leases::Reset, "Reset", reset);
  v1::RenewRequest renew;
  renew.mutable_pool()->set_pool("default");
  ExpectNotBuilt(leases, &Leases::Renew, "Renew of a pool", renew);
  v1::AcquireRequest acquire;
  acquire.set_request_id("7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001");
  ExpectNotBuilt(leases, &Leases::Acquire, "Acquire with a request_id", acquire);
  v1::ExpireRequest expire;
  expire.mutable_leases()->set_pool("default");
  ExpectNotBuilt(leases, &Leases::Expire, "Expire of leases", expire);
  expire.mutable_connections()->set_pool("default");
  ExpectNotBuilt(leases, &Leases::Expire, "Expire of connections", expire);
}

TEST_F(NotBuiltTest, ValidateOnlyEndsNoLease) {
  const Held held = Acquire();
  v1::ExpireRequest expire;
  expire.set_lease_token(held.token);
  expire.set_validate_only(true);
  EXPECT_THAT(client().Expire(expire), FailsWith(StatusCode::UNIMPLEMENTED, "NOT_BUILT_YET"));
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
}

TEST_F(NotBuiltTest, OfTheSqlService) {
  v1::ExecuteRequest once = Statement("", "SELECT 1");
  once.mutable_once();
  EXPECT_THAT(client().Execute(once), FailsWith(StatusCode::UNIMPLEMENTED, "NOT_BUILT_YET"));
  const Client::Context context = Client::NewContext();
  const auto session = client().sql().Session(context.get());
  session->WritesDone();
  ExpectNotBuilt(session->Finish(), "Session");
}

TEST_F(NotBuiltTest, OfTheOperatorService) {
  const auto operators = v1::OperatorService::NewStub(client().channel());
  ExpectNotBuilt(*operators, &Operators::ListLeases, "ListLeases");
  ExpectNotBuilt(*operators, &Operators::ListConnections, "ListConnections");
  ExpectNotBuilt(*operators, &Operators::PausePool, "PausePool");
  ExpectNotBuilt(*operators, &Operators::ResumePool, "ResumePool");
  ExpectNotBuilt(*operators, &Operators::UpdatePool, "UpdatePool");
  ExpectNotBuilt(*operators, &Operators::Drain, "Drain");
  ExpectNotBuilt(*operators, &Operators::InjectFault, "InjectFault");
  const Client::Context context = Client::NewContext();
  ExpectNotBuilt(operators->WatchEvents(context.get(), {})->Finish(), "WatchEvents");
}

}  // namespace
}  // namespace pglessor::system
