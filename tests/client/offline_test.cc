// A client whose server is not there.
#include <chrono>
#include <string>

#include "gtest/gtest.h"

#include "pglessor/client.h"
#include "pglessor/error.h"

namespace pglessor {
namespace {

TEST(ClientOffline, NeedsAnAddress) {
  EXPECT_TRUE(absl::IsInvalidArgument(Client::Create({.address = ""}).status()));
}

TEST(ClientOffline, NeedsASecretThatACallCanCarry) {
  for (const char* const secret : {"secret\n", "two words", "\x01", "schl\xc3\xbcssel"}) {
    const absl::Status status =
        Client::Create({.address = "unix:/nobody/is/here", .bearer_secret = secret}).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_EQ(status.message().find(secret), std::string::npos) << "it is a secret all the same";
  }
}

TEST(ClientOffline, NeedsItsCertificatesToBeThere) {
  for (const ClientTls& tls : {ClientTls{.ca = "/no/ca.pem"}, ClientTls{.cert = "/no/cert.pem"},
                               ClientTls{.cert = "/no/cert.pem", .key = "/no/key.pem"}}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(Client::Create({.address = "unix:/nobody/is/here", .tls = tls}).status()));
  }
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
