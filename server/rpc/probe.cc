#include "server/rpc/probe.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace pglessor::rpc {
namespace {

using grpc::experimental::FileWatcherCertificateProvider;
using grpc::experimental::NoOpCertificateVerifier;
using grpc::experimental::TlsChannelCredentialsOptions;

constexpr unsigned int kHourInSeconds = 3600;  // it reads the file once, before that

std::shared_ptr<grpc::ChannelCredentials> CredentialsFor(const std::string& tls_ca) {
  if (tls_ca.empty()) return grpc::InsecureChannelCredentials();
  TlsChannelCredentialsOptions tls;
  tls.set_certificate_provider(std::make_shared<FileWatcherCertificateProvider>(tls_ca, kHourInSeconds));
  tls.watch_root_certs();
  tls.set_certificate_verifier(std::make_shared<NoOpCertificateVerifier>());
  tls.set_check_call_host(false);
  return grpc::experimental::TlsCredentials(tls);
}

}  // namespace

absl::Status Probe(const ProbeTarget& target, std::chrono::milliseconds timeout) {
  const std::string& address = target.address;
  const auto stub =
      grpc::health::v1::Health::NewStub(grpc::CreateChannel(address, CredentialsFor(target.tls_ca)));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, {}, &response);
  if (!status.ok()) {
    return absl::UnavailableError(absl::StrCat("no answer from ", address, ": ", status.error_message()));
  }
  if (response.status() != grpc::health::v1::HealthCheckResponse::SERVING) {
    return absl::UnavailableError(absl::StrCat(
        address,
        " is not serving: ", grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status())));
  }
  return absl::OkStatus();
}

}  // namespace pglessor::rpc
