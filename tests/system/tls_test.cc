// TLS and client certificates, on real sockets: what is refused, who is known, and certificates that change
// while calls are under way.
#include "server/rpc/tls.h"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/rpc/sha256.h"
#include "tests/system/support/background.h"
#include "tests/system/support/certificates.h"
#include "tests/system/support/client.h"
#include "tests/system/support/eventually.h"
#include "tests/system/support/outcome.h"
#include "tests/system/support/server_process.h"
#include "tests/system/support/service.h"

namespace pglessor::system {
namespace {

using namespace std::chrono_literals;
using grpc::StatusCode;
using rpc::CheckTls;
using rpc::Role;
using testing::HasSubstr;

constexpr char kHere[] = "DNS:localhost,IP:127.0.0.1";
constexpr char kWebSpiffe[] = "spiffe://cluster.example/ns/shop/sa/web";
constexpr char kSecret[] = "till-secret-5d1f0a77c3";

// One handshake by hand, as gRPC's own clients could not be told to make it.
class Handshake {
 public:
  Handshake(int port, int most_recent_version) {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_security_level(context_.get(), 0);  // else OpenSSL refuses old versions on our side
    SSL_CTX_set_max_proto_version(context_.get(), most_recent_version);
    connection_.reset(SSL_new(context_.get()));
    constexpr unsigned char kHttp2[] = {2, 'h', '2'};
    SSL_set_alpn_protos(connection_.get(), kHttp2, sizeof kHttp2);
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
    SSL_set_fd(connection_.get(), socket_);
    done_ = SSL_connect(connection_.get()) == 1;
  }
  ~Handshake() { close(socket_); }
  Handshake(const Handshake&) = delete;
  Handshake& operator=(const Handshake&) = delete;

  bool done() const { return done_; }
  // Of the server's certificate.
  uint64_t Serial() const {
    const std::unique_ptr<X509, Free> peer(SSL_get1_peer_certificate(connection_.get()));
    uint64_t serial = 0;
    if (peer != nullptr) ASN1_INTEGER_get_uint64(&serial, X509_get0_serialNumber(peer.get()));
    return serial;
  }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* connection) const { SSL_free(connection); }
    void operator()(X509* certificate) const { X509_free(certificate); }
  };
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> connection_;
  int socket_ = -1;
  bool done_ = false;
};

class TlsTest : public testing::Test {
 protected:
  void Start(std::vector<rpc::IdentityOptions> identities = {}) {
    const CertificateFiles files = authority_.Issue("server", kHere);
    rpc::RpcOptions options;
    options.identities = std::move(identities);
    options.tls = {files.cert, files.key, authority_.path()};
    service_.emplace(core::PoolOptions{.min_connections = 1, .max_connections = 1}, std::move(options));
  }

  // With the certificate of those alternative names, by the server's authority unless another is named.
  std::shared_ptr<grpc::ChannelCredentials> Certificate(const std::string& names,
                                                        CertificateAuthority* authority = nullptr) {
    const CertificateFiles files = (authority == nullptr ? authority_ : *authority).Issue("client", names);
    return grpc::SslCredentials({ReadFile(authority_.path()), ReadFile(files.key), ReadFile(files.cert)});
  }
  std::shared_ptr<grpc::ChannelCredentials> NoCertificate() {
    return grpc::SslCredentials({ReadFile(authority_.path()), "", ""});
  }
  Client With(const Access& access) { return Client(service_->address(), access); }
  int Port() const { return std::stoi(service_->address().substr(service_->address().rfind(':') + 1)); }

  static rpc::IdentityOptions Web() {
    return {.name = "web",
            .roles = {Role::kHolder},
            .tenants = {"shop"},
            .secret_sha256 = {},
            .certificates = {kWebSpiffe, "web.shop.example"}};
  }
  static rpc::IdentityOptions Till() {
    return {.name = "till",
            .roles = {Role::kHolder},
            .tenants = {"till"},
            .secret_sha256 = test::Sha256(kSecret),
            .certificates = {}};
  }

  CertificateAuthority authority_;
  std::optional<Service> service_;
};

TEST_F(TlsTest, ServesOverTlsAndNotInPlainText) {
  Start();
  EXPECT_THAT(With({.secret = {}, .credentials = NoCertificate()}).Acquire(), IsOk());
  EXPECT_THAT(With({}).Acquire(), FailsWith(StatusCode::UNAVAILABLE));
}

TEST_F(TlsTest, ItsCertificateIsThatOfItsAuthority) {
  Start();
  const CertificateAuthority other("another authority");
  const auto distrust = grpc::SslCredentials({ReadFile(other.path()), "", ""});
  EXPECT_THAT(With({.secret = {}, .credentials = distrust}).Acquire(), FailsWith(StatusCode::UNAVAILABLE));
}

TEST_F(TlsTest, SpeaksTls12And13AndNothingOlder) {
  Start();
  EXPECT_TRUE(Handshake(Port(), TLS1_3_VERSION).done());
  EXPECT_TRUE(Handshake(Port(), TLS1_2_VERSION).done());
  EXPECT_FALSE(Handshake(Port(), TLS1_1_VERSION).done());
}

TEST_F(TlsTest, KnowsAnIdentityByItsCertificate) {
  Start({Web(), Till()});
  for (const std::string& names : {absl::StrCat("URI:", kWebSpiffe), std::string("DNS:web.shop.example")}) {
    const auto held = With({.secret = {}, .credentials = Certificate(names)}).Acquire(AcquireFor(100ms));
    ASSERT_THAT(held, IsOk()) << names;
    EXPECT_EQ(held.response.lease().tenant(), "shop");
  }
}

TEST_F(TlsTest, RefusesACertificateThatIsOfNobody) {
  Start({Web(), Till()});
  // Names that others may choose: the subject, or a name of another kind.
  for (const std::string& names :
       {std::string("DNS:another.example"), absl::StrCat("DNS:", kWebSpiffe),
        std::string("email:web@shop.example"), std::string("URI:spiffe://cluster.example/ns/shop/sa/web2")}) {
    EXPECT_THAT(With({.secret = {}, .credentials = Certificate(names)}).Acquire(),
                FailsWith(StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"))
        << names;
  }
}

TEST_F(TlsTest, TakesNoNameFromACertificatesSubject) {
  rpc::IdentityOptions client = Web();
  client.certificates = {"client"};  // the common name of each that this test issues
  Start({client});
  EXPECT_THAT(With({.secret = {}, .credentials = Certificate("DNS:another.example")}).Acquire(),
              FailsWith(StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"));
}

TEST_F(TlsTest, RefusesTheConnectionOfACertificateByAnotherAuthority) {
  Start({Web()});
  CertificateAuthority forger;
  const auto forged = Certificate(absl::StrCat("URI:", kWebSpiffe), &forger);
  EXPECT_THAT(With({.secret = {}, .credentials = forged}).Acquire(), FailsWith(StatusCode::UNAVAILABLE));
}

TEST_F(TlsTest, KnowsASecretWithoutACertificate) {
  Start({Web(), Till()});
  const auto held = With({.secret = kSecret, .credentials = NoCertificate()}).Acquire();
  ASSERT_THAT(held, IsOk());
  EXPECT_EQ(held.response.lease().tenant(), "till");
  EXPECT_THAT(With({.secret = {}, .credentials = NoCertificate()}).Acquire(),
              FailsWith(StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"));
}

TEST_F(TlsTest, WantsSecretAndCertificateToBeOfOneIdentity) {
  rpc::IdentityOptions till = Till();
  till.certificates = {"till.shop.example"};
  Start({Web(), till});
  EXPECT_THAT(With({.secret = kSecret, .credentials = Certificate("DNS:web.shop.example")}).Acquire(),
              FailsWith(StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"));
  EXPECT_THAT(With({.secret = kSecret, .credentials = Certificate("DNS:till.shop.example")}).Acquire(),
              IsOk());
}

TEST_F(TlsTest, TakesANewCertificateFromDiskWithoutDroppingACall) {
  Start();
  const Access access{.secret = {}, .credentials = NoCertificate()};
  Client holder = With(access), waiter = With(access);
  const auto held = holder.Acquire();
  ASSERT_THAT(held, IsOk());
  const uint64_t before = Handshake(Port(), TLS1_3_VERSION).Serial();
  ASSERT_NE(before, 0U);

  const auto waiting = StartAcquire(waiter);
  ASSERT_TRUE(Eventually([&] { return holder.Stats().waiting() == 1; }));
  authority_.Issue("server", kHere);
  ASSERT_TRUE(Eventually([&] {
    const Handshake handshake(Port(), TLS1_3_VERSION);
    return handshake.done() && handshake.Serial() != before;
  }));
  EXPECT_THAT(holder.Release(held.response.lease_token()), IsOk());
  EXPECT_THAT(waiting->Get(), IsOk()) << "its connection was made with the old certificate";
  EXPECT_THAT(With(access).StatsOf({}), IsOk()) << "by the new one";
}

TEST_F(TlsTest, IsAlsoThereWithoutAnAuthorityOfClients) {
  const CertificateFiles files = authority_.Issue("server", kHere);
  rpc::RpcOptions options;
  options.tls = {files.cert, files.key, ""};
  service_.emplace(core::PoolOptions{.min_connections = 1, .max_connections = 1}, std::move(options));
  EXPECT_THAT(With({.secret = {}, .credentials = NoCertificate()}).Acquire(), IsOk());
}

TEST_F(TlsTest, AProbeAsksWhoeverItsAuthorityVouchesFor) {
  Start({Web()});
  service_->rpc().SetServing(true);
  const CertificateAuthority another("another authority");
  const auto probe = [&](const Flags& flags) {
    Flags all = {"probe", service_->address()};
    all.insert(all.end(), flags.begin(), flags.end());
    return RunPglessor(all).exit;
  };
  EXPECT_EQ(probe({"--tls-ca", authority_.path()}), 0);
  EXPECT_EQ(probe({"--tls-ca", another.path()}), 1);
  EXPECT_EQ(probe({"--tls-ca", "/no/ca.pem"}), 1);
  EXPECT_EQ(probe({}), 1) << "in plain text";
}

// --- what is said of wrong files ---

class TlsFilesTest : public testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = folder_.path() / name;
    std::ofstream(path) << text;
    return path;
  }

  CertificateAuthority authority_;
  const CertificateFiles good_ = authority_.Issue("server", kHere);
  const CertificateFiles other_ = authority_.Issue("other", kHere);
  TemporaryFolder folder_;
};

TEST_F(TlsFilesTest, HaveNoFaultIfTheyBelongTogether) {
  for (const rpc::TlsOptions& options : {rpc::TlsOptions{}, rpc::TlsOptions{good_.cert, good_.key, ""},
                                         rpc::TlsOptions{good_.cert, good_.key, authority_.path()}}) {
    const rpc::TlsFaults faults = CheckTls(options);
    EXPECT_TRUE(faults.cert.ok()) << faults.cert;
    EXPECT_TRUE(faults.key.ok()) << faults.key;
    EXPECT_TRUE(faults.client_ca.ok()) << faults.client_ca;
  }
}

TEST_F(TlsFilesTest, AreNamedIfTheyAreNotThere) {
  const rpc::TlsFaults faults = CheckTls({"/no/cert.pem", "/no/key.pem", "/no/ca.pem"});
  EXPECT_THAT(faults.cert.message(), HasSubstr("/no/cert.pem"));
  EXPECT_THAT(faults.key.message(), HasSubstr("/no/key.pem"));
  EXPECT_THAT(faults.client_ca.message(), HasSubstr("/no/ca.pem"));
}

TEST_F(TlsFilesTest, AreRefusedIfTheyAreSomethingElse) {
  const std::string text = Write("text.pem", "not a certificate");
  EXPECT_FALSE(CheckTls({text, good_.key, ""}).cert.ok());
  EXPECT_FALSE(CheckTls({good_.cert, text, ""}).key.ok());
  EXPECT_FALSE(CheckTls({good_.cert, good_.key, text}).client_ca.ok());
  EXPECT_FALSE(CheckTls({good_.cert, good_.cert, ""}).key.ok());
}

TEST_F(TlsFilesTest, AreRefusedIfTheKeyIsThatOfAnotherCertificate) {
  EXPECT_FALSE(CheckTls({good_.cert, other_.key, ""}).key.ok());
}

TEST_F(TlsFilesTest, GoTogether) {
  EXPECT_FALSE(CheckTls({good_.cert, "", ""}).key.ok());
  EXPECT_FALSE(CheckTls({"", good_.key, ""}).cert.ok());
  EXPECT_FALSE(CheckTls({"", "", authority_.path()}).client_ca.ok());
}

}  // namespace
}  // namespace pglessor::system
