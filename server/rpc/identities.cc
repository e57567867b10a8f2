#include "server/rpc/identities.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <array>
#include <cstring>
#include <unordered_map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

#include "server/core/check.h"
#include "server/core/error.h"

namespace pglessor::rpc {
namespace {

constexpr absl::string_view kBearer = "bearer";

struct Digest {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> bytes{};

  friend bool operator==(const Digest& a, const Digest& b) {
    return CRYPTO_memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
  }
};

// It is random as it stands.
struct DigestHash {
  size_t operator()(const Digest& digest) const {
    size_t hash = 0;
    std::memcpy(&hash, digest.bytes.data(), sizeof hash);
    return hash;
  }
};

Digest DigestOf(absl::string_view secret) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), digest.bytes.data());
  return digest;
}

// The secret of "Bearer SECRET" (RFC 6750); nothing if it is not that.
std::optional<absl::string_view> SecretOf(absl::string_view authorization) {
  if (!absl::StartsWithIgnoreCase(authorization, kBearer)) return std::nullopt;
  authorization.remove_prefix(kBearer.size());
  if (!absl::ConsumePrefix(&authorization, " ")) return std::nullopt;
  const absl::string_view secret = absl::StripAsciiWhitespace(authorization);
  if (secret.empty()) return std::nullopt;
  return secret;
}

absl::Status Unauthenticated() {
  return core::MakeError(absl::StatusCode::kUnauthenticated,
                         "nobody is known by these credentials; expected the metadata \"authorization: "
                         "Bearer SECRET\", a client certificate, or both of one identity",
                         {.reason = core::reason::kUnauthenticated});
}

}  // namespace

class Identities::Known {
 public:
  explicit Known(const std::vector<IdentityOptions>& identities) {
    for (const IdentityOptions& identity : identities) {
      const auto caller = std::make_shared<const Caller>(identity);
      if (!identity.secret_sha256.empty()) {
        Digest digest;
        PGLESSOR_CHECK(identity.secret_sha256.size() == digest.bytes.size(), "a SHA-256 has 32 bytes");
        std::memcpy(digest.bytes.data(), identity.secret_sha256.data(), digest.bytes.size());
        by_secret_.emplace(digest, caller);
      }
      for (const std::string& name : identity.certificates) by_certificate_.emplace(name, caller);
    }
    if (identities.empty()) anonymous_ = std::make_shared<const Caller>(Caller::Anonymous());
  }

  // Set if there are no identities.
  const CallerRef& anonymous() const { return anonymous_; }

  // Null if they prove nobody.
  CallerRef Find(const Credentials& credentials) const {
    const bool has_secret = !credentials.authorization.empty();
    const CallerRef by_secret = BySecret(credentials.authorization);
    if (!credentials.certificate) return by_secret;
    const CallerRef by_certificate = ByCertificate(*credentials.certificate);
    return has_secret && by_secret != by_certificate ? nullptr : by_certificate;
  }

 private:
  CallerRef BySecret(const std::vector<absl::string_view>& authorization) const {
    if (authorization.size() != 1) return nullptr;
    const std::optional<absl::string_view> secret = SecretOf(authorization.front());
    if (!secret) return nullptr;
    const auto found = by_secret_.find(DigestOf(*secret));
    return found == by_secret_.end() ? nullptr : found->second;
  }

  // Null too if its names are of several identities.
  CallerRef ByCertificate(const std::vector<std::string>& names) const {
    CallerRef caller;
    for (const std::string& name : names) {
      const auto found = by_certificate_.find(name);
      if (found == by_certificate_.end() || found->second == caller) continue;
      if (caller != nullptr) return nullptr;
      caller = found->second;
    }
    return caller;
  }

  CallerRef anonymous_;
  std::unordered_map<Digest, CallerRef, DigestHash> by_secret_;
  std::unordered_map<std::string, CallerRef> by_certificate_;
};

Identities::Identities(const std::vector<IdentityOptions>& identities)
    : known_(std::make_shared<const Known>(identities)) {}

Identities::~Identities() = default;

void Identities::Replace(const std::vector<IdentityOptions>& identities) {
  auto known = std::make_shared<const Known>(identities);
  const core::MutexLock lock(mutex_);
  known_.swap(known);
}

absl::StatusOr<CallerRef> Identities::Authenticate(absl::FunctionRef<Credentials()> credentials) const {
  std::shared_ptr<const Known> known;
  {
    const core::MutexLock lock(mutex_);
    known = known_;
  }
  if (known->anonymous() != nullptr) return known->anonymous();
  CallerRef caller = known->Find(credentials());
  if (caller == nullptr) return Unauthenticated();
  return caller;
}

}  // namespace pglessor::rpc
