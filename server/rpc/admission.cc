#include "server/rpc/admission.h"

#include <grpc/grpc_security_constants.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"

namespace pglessor::rpc {
namespace {

constexpr char kAuthorization[] = "authorization";

// URIs, SPIFFE ids among them, come from the certificate's URIs only: an authority that lets its clients
// choose a DNS name lets them choose no identity of another kind.
std::vector<std::string> NamesOf(const grpc::AuthContext& peer) {
  std::vector<std::string> names;
  for (const grpc::string_ref& uri : peer.FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
    names.emplace_back(uri.data(), uri.size());
  }
  for (const char* const kind :
       {GRPC_PEER_DNS_PROPERTY_NAME, GRPC_PEER_EMAIL_PROPERTY_NAME, GRPC_PEER_IP_PROPERTY_NAME}) {
    for (const grpc::string_ref& value : peer.FindPropertyValues(kind)) {
      std::string name(value.data(), value.size());
      if (!absl::StrContains(name, "://")) names.push_back(std::move(name));
    }
  }
  return names;
}

Credentials CredentialsOf(const grpc::ServerContext& context) {
  Credentials credentials;
  const auto [begin, end] = context.client_metadata().equal_range(kAuthorization);
  for (auto entry = begin; entry != end; ++entry) {
    credentials.authorization.emplace_back(entry->second.data(), entry->second.size());
  }
  const auto peer = context.auth_context();
  if (peer != nullptr && !peer->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME).empty()) {
    credentials.certificate = NamesOf(*peer);
  }
  return credentials;
}

}  // namespace

absl::StatusOr<CallerRef> Admission::Admit(const grpc::ServerContext& context,
                                           const google::protobuf::Message& request) const {
  absl::StatusOr<CallerRef> caller = identities_.Authenticate([&] { return CredentialsOf(context); });
  if (!caller.ok()) return caller;
  if (absl::Status allowed = authorization_.Check(**caller, request); !allowed.ok()) return allowed;
  return caller;
}

}  // namespace pglessor::rpc
