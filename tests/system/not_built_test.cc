// What the contract names and this version does not have: refused with a sentence, and never taken for done.
// As each is built, its line goes.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

class NotBuiltTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 1); }

  static void ExpectNotBuilt(const grpc::Status& status, const std::string& name) {
    EXPECT_THAT(OutcomeOf(status), FailsWith(StatusCode::UNIMPLEMENTED, "NOT_BUILT_YET")) << name;
    EXPECT_THAT(status.error_message(), HasSubstr("not built yet")) << name;
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

}  // namespace
}  // namespace pglessor::system
