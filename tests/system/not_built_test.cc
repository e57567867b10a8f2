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
  ExpectNotBuilt(*operators, &Operators::PausePool, "PausePool");
  ExpectNotBuilt(*operators, &Operators::ResumePool, "ResumePool");
  ExpectNotBuilt(*operators, &Operators::UpdatePool, "UpdatePool");
}

}  // namespace
}  // namespace pglessor::system
