#include "server/config_identities.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "server/core/check.h"
#include "server/core/names.h"

namespace pglessor {
namespace {

constexpr Named<rpc::Role> kRoles[] = {
    {"holder", rpc::Role::kHolder},
    {"viewer", rpc::Role::kViewer},
    {"operator", rpc::Role::kOperator},
};
constexpr char kHexDigits[] = "0123456789abcdefABCDEF";
constexpr char kBase64Digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/";
// 128 bits of each.
constexpr size_t kLeastHexDigits = 32;
constexpr size_t kLeastBase64Digits = 22;

// Of the right length and alphabet to hold 128 random bits.
bool IsLongEnough(absl::string_view secret) {
  while (absl::ConsumeSuffix(&secret, "=")) {
  }
  if (secret.find_first_not_of(kBase64Digits) != absl::string_view::npos) return false;
  const bool hex = secret.find_first_not_of(kHexDigits) == absl::string_view::npos;
  return secret.size() >= (hex ? kLeastHexDigits : kLeastBase64Digits);
}

std::string Sha256(absl::string_view text) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

// Requires: hex digits, of a SHA-256.
std::string BytesOf(const std::string& hex) {
  std::string bytes(SHA256_DIGEST_LENGTH, '\0');
  size_t size = 0;
  PGLESSOR_CHECK(OPENSSL_hexstr2buf_ex(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), &size,
                                       hex.c_str(), '\0') == 1 &&
                     size == bytes.size(),
                 "64 hex digits are 32 bytes");
  return bytes;
}

// As PostgreSQL keeps it: SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY.
bool IsScramVerifier(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '$');
  if (parts.size() != 3 || parts[0] != "SCRAM-SHA-256") return false;
  const std::vector<std::string> salted = absl::StrSplit(parts[1], ':');
  const std::vector<std::string> keys = absl::StrSplit(parts[2], ':');
  int iterations = 0;
  std::string bytes;
  if (salted.size() != 2 || keys.size() != 2 || !absl::SimpleAtoi(salted[0], &iterations) || iterations < 1 ||
      !absl::Base64Unescape(salted[1], &bytes) || bytes.empty()) {
    return false;
  }
  for (const std::string& key : keys) {
    if (!absl::Base64Unescape(key, &bytes) || bytes.size() != SHA256_DIGEST_LENGTH) return false;
  }
  return true;
}

void ReadSecret(ConfigTable& table, rpc::IdentityOptions& identity) {
  std::string secret;
  const bool plain = table.Secret("secret", secret);
  if (plain && !secret.empty()) {
    if (IsLongEnough(secret)) {
      identity.secret_sha256 = Sha256(secret);
    } else {
      table.Fault("secret", "expected 128 random bits: 22 characters or more of base64url, or 32 hex digits");
    }
    OPENSSL_cleanse(secret.data(), secret.size());
  }
  std::string hash;
  if (!table.Secret("secret_sha256", hash) || hash.empty()) return;
  if (plain) {
    table.Fault("secret_sha256", "expected either secret or secret_sha256, got both");
  } else if (hash.size() != 2 * SHA256_DIGEST_LENGTH ||
             hash.find_first_not_of(kHexDigits) != std::string::npos) {
    table.Fault("secret_sha256", "expected 64 hex digits: the SHA-256 of the secret");
  } else {
    identity.secret_sha256 = BytesOf(hash);
  }
}

void ReadRoles(ConfigTable& table, rpc::IdentityOptions& identity) {
  std::vector<std::string> names;
  table.Texts("roles", names);
  if (names.empty()) return;
  identity.roles.clear();
  for (const std::string& name : names) {
    bool known = false;
    for (const auto& role : kRoles) {
      if (name != role.name) continue;
      identity.roles.insert(role.value);
      known = true;
    }
    if (!known) {
      table.Fault("roles",
                  absl::StrCat(R"(expected some of "holder", "viewer", "operator", got )", Quoted(name)));
    }
  }
}

// What every caller has, be it a tenant or not.
void ReadCaller(ConfigTable& table, rpc::IdentityOptions& identity) {
  ReadSecret(table, identity);
  ReadRoles(table, identity);
  table.Texts("certificates", identity.certificates);
  for (const std::string& certificate : identity.certificates) {
    if (certificate.empty()) table.Fault("certificates", "expected SPIFFE ids or SANs, got an empty one");
  }
  const bool proves_itself = table.Says("secret") || table.Says("secret_file") ||
                             table.Says("secret_sha256") || table.Says("secret_sha256_file") ||
                             !identity.certificates.empty();
  if (!proves_itself) {
    table.Fault("secret_sha256",
                "expected a secret_sha256, a secret_file or certificates: else nobody is it");
  }
}

// What one caller alone may have: a secret or a certificate of two would name neither.
class Unique {
 public:
  void Check(ConfigTable& table, const rpc::IdentityOptions& identity) {
    if (!identity.secret_sha256.empty() && !secrets_.insert(identity.secret_sha256).second) {
      table.Fault("secret_sha256", "expected a secret that no other tenant or identity has");
    }
    for (const std::string& certificate : identity.certificates) {
      if (certificates_.insert(certificate).second) continue;
      table.Fault("certificates", absl::StrCat("expected one that no other tenant or identity has, got ",
                                               Quoted(certificate)));
    }
  }

 private:
  std::set<std::string> secrets_;
  std::set<std::string> certificates_;
};

void ReadTenant(const std::string& name, ConfigTable& table, Config& config) {
  rpc::IdentityOptions identity{name, {rpc::Role::kHolder}, {name}, {}, {}};
  if (name == core::kReservedTenant) {
    table.Fault("", "expected another name than \"lease\", which the gateway uses");
  }
  ReadCaller(table, identity);
  std::string verifier;
  if (table.Secret("scram_verifier", verifier) && !verifier.empty()) {
    if (!IsScramVerifier(verifier)) {
      table.Fault("scram_verifier", "expected SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY");
    }
    config.scram_verifiers[name] = verifier;
  }
  config.identities.push_back(std::move(identity));
}

void ReadIdentity(const std::string& name, ConfigTable& table, Config& config) {
  rpc::IdentityOptions identity{name, {}, {}, {}, {}};
  ReadCaller(table, identity);
  if (identity.roles.empty()) {
    table.Fault("roles", R"(expected some of "holder", "viewer", "operator": without one it may do nothing)");
  }
  table.Texts("tenants", identity.tenants);
  for (const std::string& tenant : identity.tenants) {
    if (tenant == "*" || core::IsTenant(tenant)) continue;
    table.Fault("tenants", absl::StrCat(R"(expected tenants' names, or "*" for any, got )", Quoted(tenant)));
  }
  if (identity.tenants.empty() && identity.roles.count(rpc::Role::kHolder) > 0) {
    table.Fault("tenants", R"(expected those for which it may hold leases, or "*" for any)");
  }
  config.identities.push_back(std::move(identity));
}

}  // namespace

void ReadIdentities(ConfigTable& root, Config& config) {
  Unique unique;
  std::set<std::string> names;
  for (auto& [name, table] : root.Tables("tenants")) {
    ReadTenant(name, table, config);
    unique.Check(table, config.identities.back());
    names.insert(name);
    table.Finish();
  }
  for (auto& [name, table] : root.Tables("identities")) {
    if (names.count(name) > 0) table.Fault("", "expected another name than a tenant's");
    ReadIdentity(name, table, config);
    unique.Check(table, config.identities.back());
    table.Finish();
  }
}

}  // namespace pglessor
