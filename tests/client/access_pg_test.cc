// A client that shows who it is, and speaks TLS: to a server that asks for both.
#include <optional>
#include <string>
#include <utility>

#include "tests/client/support/client_fixture.h"
#include "tests/rpc/sha256.h"
#include "tests/system/support/certificates.h"
#include "tests/system/support/service.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using rpc::Role;
using system::CertificateAuthority;
using system::CertificateFiles;
using testing::HasSubstr;

constexpr char kSecret[] = "shop-secret-5d1f0a77c3";
constexpr char kSpiffe[] = "spiffe://cluster.example/ns/shop/sa/web";

class ClientAccess : public testing::Test {
 protected:
  void Serve(rpc::TlsOptions tls = {}) {
    rpc::RpcOptions options;
    options.identities = {{.name = "shop",
                           .roles = {Role::kHolder},
                           .tenants = {"shop"},
                           .secret_sha256 = test::Sha256(kSecret),
                           .certificates = {kSpiffe}}};
    options.tls = std::move(tls);
    service_.emplace(core::PoolOptions{.min_connections = 1, .max_connections = 1}, std::move(options));
  }
  void ServeOverTls() {
    const CertificateFiles files = authority_.Issue("server", "IP:127.0.0.1");
    Serve({files.cert, files.key, authority_.path()});
  }

  // Acquires, runs a statement and releases: each of them is a call of its own.
  absl::Status Use(ClientOptions options) {
    options.address = service_->address();
    absl::StatusOr<Client> client = Client::Create(std::move(options));
    if (!client.ok()) return client.status();
    absl::StatusOr<Lease> lease = client->Acquire();
    if (!lease.ok()) return lease.status();
    if (absl::Status executed = lease->Execute("SELECT 1").status(); !executed.ok()) return executed;
    return StatusOf(lease->Release());
  }

  CertificateAuthority authority_;
  std::optional<system::Service> service_;
};

TEST_F(ClientAccess, IsKnownByItsSecret) {
  Serve();
  EXPECT_THAT(Use({.bearer_secret = kSecret}), IsOk());
}

TEST_F(ClientAccess, IsRefusedWithoutOneOrWithAnother) {
  Serve();
  EXPECT_THAT(Use({}), FailsWith(StatusCode::kUnauthenticated, "UNAUTHENTICATED"));
  const absl::Status refused = Use({.bearer_secret = "another-secret"});
  EXPECT_THAT(refused, FailsWith(StatusCode::kUnauthenticated, "UNAUTHENTICATED"));
  EXPECT_THAT(std::string(refused.message()), testing::Not(HasSubstr("another-secret")));
}

TEST_F(ClientAccess, SpeaksTlsAndIsKnownByItsSecret) {
  ServeOverTls();
  EXPECT_THAT(Use({.tls = ClientTls{.ca = authority_.path()}, .bearer_secret = kSecret}), IsOk());
}

TEST_F(ClientAccess, IsKnownByItsCertificate) {
  ServeOverTls();
  const CertificateFiles files = authority_.Issue("client", std::string("URI:") + kSpiffe);
  EXPECT_THAT(Use({.tls = ClientTls{.ca = authority_.path(), .cert = files.cert, .key = files.key}}), IsOk());
}

TEST_F(ClientAccess, DoesNotTalkToAServerThatItsAuthorityHasNotVouchedFor) {
  ServeOverTls();
  const CertificateAuthority another("another authority");
  EXPECT_THAT(Use({.tls = ClientTls{.ca = another.path()}, .bearer_secret = kSecret}),
              FailsWith(StatusCode::kUnavailable, ""));
}

TEST_F(ClientAccess, DoesNotTalkToAServerOfAnotherName) {
  const CertificateFiles files = authority_.Issue("server", "DNS:another.example");
  Serve({files.cert, files.key, ""});
  EXPECT_THAT(Use({.tls = ClientTls{.ca = authority_.path()}, .bearer_secret = kSecret}),
              FailsWith(StatusCode::kUnavailable, ""));
}

}  // namespace
}  // namespace pglessor
