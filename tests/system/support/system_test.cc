#include "tests/system/support/system_test.h"

#include "absl/strings/str_cat.h"

namespace pglessor::system {

void SystemTest::Serve(int min_connections, int max_connections, Flags flags) {
  flags.push_back(absl::StrCat("--dsn=", dsn()));
  flags.push_back(absl::StrCat("--control-dsn=", control_dsn()));
  flags.push_back(absl::StrCat("--min-connections=", min_connections));
  flags.push_back(absl::StrCat("--max-connections=", max_connections));
  server_ = ServerProcess::Start(std::move(flags));
  ASSERT_NE(server_->address(), "");
  client_ = std::make_unique<Client>(server_->address());
}

void SystemTest::TearDown() {
  if (server_ == nullptr) return;
  client_.reset();  // an open connection would delay the end
  if (server_->process().Running()) {
    EXPECT_EQ(server_->End(), 0);
  }
  EXPECT_TRUE(Eventually([&] { return observer().PglessorBackends() == 0; }));
}

SystemTest::Held SystemTest::Acquire(const v1::AcquireRequest& request) {
  const Answer<v1::AcquireResponse> answer = client().Acquire(request);
  EXPECT_TRUE(answer.ok()) << answer;
  return {answer.response.lease_token(), answer.response.lease()};
}

bool SystemTest::AwaitRest() {
  return Eventually([&] {
    const v1::PoolStats stats = client().Stats();
    return stats.total() == stats.min_connections() && stats.available() == stats.total();
  });
}

}  // namespace pglessor::system
