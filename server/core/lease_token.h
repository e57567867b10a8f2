// The secret that proves a lease: derived when an answer is encoded, never stored.
//
//   token = base64url( version, lease id, tenant, server address, mac )
//   mac   = MAC(key, "pglessor-lease-v1" and these four, each with its length)
//
// Because it can be derived again, a retried Acquire gets the same token; because it names the replica and
// its address, another replica can tell "not mine" from "forged". base64url as in RFC 4648 section 5,
// without padding; the mac is HMAC-SHA256 (RFC 2104).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

#include "server/core/ids.h"

namespace pglessor::core {

// A port: keyed hashing is a library's work, and no library for it belongs in the core.
// Threads: any thread may call.
class TokenKey {
 public:
  using Mac = std::array<uint8_t, 32>;

  virtual ~TokenKey() = default;
  virtual Mac Sign(absl::string_view text) const = 0;
};

struct TokenClaims {
  LeaseId lease;
  std::string tenant;
  std::string server_address;

  friend bool operator==(const TokenClaims&, const TokenClaims&) = default;
};

// Longer texts are refused before anything is decoded.
inline constexpr size_t kMaxTokenLength = 2048;

std::string EncodeLeaseToken(const TokenClaims& claims, const TokenKey& key);

// The claims, if `token` was made with `key`; nothing otherwise, and no hint at why. The macs are compared
// in constant time.
std::optional<TokenClaims> DecodeLeaseToken(absl::string_view token, const TokenKey& key);

}  // namespace pglessor::core
