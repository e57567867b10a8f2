// The listeners' certificates: checked at the start, and read again when their files change.
//
// A client certificate is asked for and verified where there is an authority for it, but not demanded: who
// has none may still be known by a secret, and probes need neither.
#pragma once

#include <memory>

#include "absl/status/status.h"

#include "server/rpc/identity_options.h"

namespace grpc {
class ServerCredentials;
}  // namespace grpc

namespace pglessor::rpc {

// What is wrong with each file, its path included; OK where nothing is, or where none is named.
struct TlsFaults {
  absl::Status cert;
  absl::Status key;  // also where it does not belong to the certificate, or one of the two is not named
  absl::Status client_ca;
};
TlsFaults CheckTls(const TlsOptions& options);

// TLS 1.2 or 1.3. The files are looked at every second; connections that stand keep what they have. Replace
// certificate and key in one step (by the switch of a symlink, as Kubernetes does): between two halves that
// do not match, new connections fail.
std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const TlsOptions& options);

}  // namespace pglessor::rpc
