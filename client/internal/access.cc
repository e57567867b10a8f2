#include "client/internal/access.h"

#include <grpcpp/support/client_interceptor.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace pglessor::internal {
namespace {

using grpc::experimental::ClientInterceptorFactoryInterface;
using grpc::experimental::ClientRpcInfo;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;

// gRPC's own call credentials do not go into plain text, not even on loopback.
class WithSecret : public Interceptor {
 public:
  explicit WithSecret(const std::string& authorization) : authorization_(authorization) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", authorization_);
    }
    methods->Proceed();
  }

 private:
  const std::string& authorization_;
};

// Lives as long as its channel, and so longer than the channel's calls.
class WithSecretFactory : public ClientInterceptorFactoryInterface {
 public:
  explicit WithSecretFactory(const std::string& secret) : authorization_(absl::StrCat("Bearer ", secret)) {}

  Interceptor* CreateClientInterceptor(ClientRpcInfo* /*call*/) override {
    return new WithSecret(authorization_);  // gRPC's from here on
  }

 private:
  const std::string authorization_;
};

// `path` may be empty: then there is nothing to read.
absl::StatusOr<std::string> ReadPem(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file || text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("ClientOptions::tls: ", path, " cannot be read, or is empty"));
  }
  return text;
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> TlsOf(const ClientTls& tls) {
  if (tls.cert.empty() != tls.key.empty()) {
    return absl::InvalidArgumentError("ClientOptions::tls: cert and key go together");
  }
  absl::StatusOr<std::string> ca = ReadPem(tls.ca);
  if (!ca.ok()) return ca.status();
  absl::StatusOr<std::string> cert = ReadPem(tls.cert);
  if (!cert.ok()) return cert.status();
  absl::StatusOr<std::string> key = ReadPem(tls.key);
  if (!key.ok()) return key.status();
  return grpc::SslCredentials({*std::move(ca), *std::move(key), *std::move(cert)});
}

}  // namespace

absl::StatusOr<Access> AccessOf(const ClientOptions& options) {
  Access access;
  access.bearer_secret = options.bearer_secret;
  // Anything else would end the process in gRPC, at the first call.
  if (!std::all_of(access.bearer_secret.begin(), access.bearer_secret.end(),
                   [](char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)); })) {
    return absl::InvalidArgumentError(
        "ClientOptions::bearer_secret: expected printable ASCII without blanks; is there a line's end?");
  }
  if (options.tls) {
    absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials = TlsOf(*options.tls);
    if (!credentials.ok()) return credentials.status();
    access.credentials = *std::move(credentials);
  }
  return access;
}

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address, const Access& access) {
  grpc::ChannelArguments arguments;
  // A row may have 4 MB, and the message around it a little more.
  arguments.SetMaxReceiveMessageSize(8 << 20);
  // A server that has vanished without a word is found out while calls wait for it. Its own limit is 9 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  // Also of a stream on which nothing is said for long: gRPC's own limit is two pings, and then it is silent.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A server that restarts is back in seconds; leases that wait for it have no time to lose.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  std::vector<std::unique_ptr<ClientInterceptorFactoryInterface>> interceptors;
  if (!access.bearer_secret.empty()) {
    interceptors.push_back(std::make_unique<WithSecretFactory>(access.bearer_secret));
  }
  return grpc::experimental::CreateCustomChannelWithInterceptors(
      address, absl::StartsWith(address, "unix:") ? grpc::InsecureChannelCredentials() : access.credentials,
      arguments, std::move(interceptors));
}

}  // namespace pglessor::internal
