// Who may call, and the certificates of the listeners, as the configuration says them.
//
// Plain values, free of gRPC: what reads the configuration fills them, rpc::Identities and rpc::RpcServer
// work by them.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace pglessor::rpc {

// What a caller may do. An operator may do what a viewer may.
enum class Role { kHolder, kViewer, kOperator };

// A caller that is known. It proves who it is by its secret, by a certificate, or by both.
struct IdentityOptions {
  std::string name;  // unique among them; for the log, and as whom its request ids are remembered
  std::set<Role> roles;
  // For which it may act; the first is its default, "*" stands for any (and as the first for "default").
  std::vector<std::string> tenants;
  std::string secret_sha256;              // of its bearer secret, 32 raw bytes; empty = it has none
  std::vector<std::string> certificates;  // SPIFFE ids or SANs of its client certificates; empty = none
};

// Paths of PEM files, which are read again when they change; all empty = no TLS.
struct TlsOptions {
  std::string cert;  // the chain, the server's own first
  std::string key;
  std::string client_ca;  // whose client certificates are believed; empty = none are asked for
};

}  // namespace pglessor::rpc
