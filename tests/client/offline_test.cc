// A client whose server is not there.
#include <chrono>

#include "gtest/gtest.h"

#include "pglessor/client.h"
#include "pglessor/error.h"

namespace pglessor {
namespace {

TEST(ClientOffline, NeedsAnAddress) {
  EXPECT_TRUE(absl::IsInvalidArgument(Client::Create({.address = ""}).status()));
}

TEST(ClientOffline, IsCreatedWithoutItsServer) {
  EXPECT_TRUE(Client::Create({.address = "unix:/nobody/is/here"}).ok());
}

TEST(ClientOffline, AcquireSaysThatTheServerIsNotThere) {
  absl::StatusOr<Client> client = Client::Create({.address = "unix:/nobody/is/here"});
  ASSERT_TRUE(client.ok());
  const absl::Status status = client->Acquire().status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(ErrorReason(status), "");
}

TEST(ClientOffline, AMovedFromClientAcquiresNothing) {
  absl::StatusOr<Client> client = Client::Create({.address = "unix:/nobody/is/here"});
  ASSERT_TRUE(client.ok());
  const Client other = *std::move(client);
  EXPECT_TRUE(absl::IsFailedPrecondition(client->Acquire().status()));  // NOLINT(bugprone-use-after-move)
}

}  // namespace
}  // namespace pglessor
