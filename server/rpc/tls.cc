#include "server/rpc/tls.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace pglessor::rpc {
namespace {

using grpc::experimental::FileWatcherCertificateProvider;
using grpc::experimental::TlsServerCredentialsOptions;

constexpr unsigned int kLookEverySeconds = 1;

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, FreeContext>;

absl::Status Fault(absl::string_view what) { return absl::InvalidArgumentError(what); }

absl::Status Readable(const std::string& path) {
  if (access(path.c_str(), R_OK) == 0) return absl::OkStatus();
  return Fault(absl::StrCat(path, " cannot be read: ", std::strerror(errno)));
}

// One that is encrypted is refused, instead of a passphrase asked for on the terminal.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) { return 0; }

absl::Status CertFault(SSL_CTX& context, const TlsOptions& options) {
  if (options.cert.empty()) {
    return options.key.empty() ? absl::OkStatus() : Fault("expected the certificate of the key");
  }
  if (absl::Status readable = Readable(options.cert); !readable.ok()) return readable;
  if (SSL_CTX_use_certificate_chain_file(&context, options.cert.c_str()) == 1) return absl::OkStatus();
  return Fault(absl::StrCat(options.cert, ": expected certificates in PEM, the server's own first"));
}

// Requires: the context has the certificate, if that is one.
absl::Status KeyFault(SSL_CTX& context, const TlsOptions& options) {
  if (options.key.empty()) {
    return options.cert.empty() ? absl::OkStatus() : Fault("expected the key of the certificate");
  }
  if (absl::Status readable = Readable(options.key); !readable.ok()) return readable;
  SSL_CTX_set_default_passwd_cb(&context, &NoPassphrase);
  if (SSL_CTX_use_PrivateKey_file(&context, options.key.c_str(), SSL_FILETYPE_PEM) == 1) {
    return absl::OkStatus();
  }
  return Fault(absl::StrCat(options.key, ": expected the certificate's private key, in PEM and unencrypted"));
}

absl::Status ClientCaFault(SSL_CTX& context, const TlsOptions& options) {
  if (options.client_ca.empty()) return absl::OkStatus();
  if (options.cert.empty()) return Fault("without a certificate there is no TLS, and no client has one");
  if (absl::Status readable = Readable(options.client_ca); !readable.ok()) return readable;
  if (SSL_CTX_load_verify_locations(&context, options.client_ca.c_str(), nullptr) == 1) {
    return absl::OkStatus();
  }
  return Fault(absl::StrCat(options.client_ca, ": expected certificates of authorities in PEM"));
}

}  // namespace

TlsFaults CheckTls(const TlsOptions& options) {
  const Context context(SSL_CTX_new(TLS_server_method()));
  TlsFaults faults;
  faults.cert = CertFault(*context, options);
  faults.key = KeyFault(*context, options);
  faults.client_ca = ClientCaFault(*context, options);
  ERR_clear_error();  // its reasons are not ours
  return faults;
}

std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const TlsOptions& options) {
  TlsServerCredentialsOptions tls(std::make_shared<FileWatcherCertificateProvider>(
      options.key, options.cert, options.client_ca, kLookEverySeconds));
  tls.watch_identity_key_cert_pairs();
  if (!options.client_ca.empty()) {
    tls.watch_root_certs();
    tls.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(tls);
}

}  // namespace pglessor::rpc
