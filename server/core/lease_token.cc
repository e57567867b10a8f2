#include "server/core/lease_token.h"

#include <cstddef>
#include <tuple>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace pglessor::core {
namespace {

constexpr char kVersion = 1;
constexpr absl::string_view kPurpose = "pglessor-lease-v1";
constexpr size_t kMacSize = std::tuple_size_v<TokenKey::Mac>;
constexpr size_t kMaxPart = 0xffff;
constexpr size_t kLengths = 7;  // of three parts, and the version

// Every part with its length before it (two bytes, big endian), so that no two claims have one encoding.
void PutPart(std::string& out, absl::string_view part) {
  out.push_back(static_cast<char>(part.size() >> 8));
  out.push_back(static_cast<char>(part.size() & 0xff));
  absl::StrAppend(&out, part);
}

std::optional<absl::string_view> TakePart(absl::string_view& in) {
  if (in.size() < 2) return std::nullopt;
  const size_t size = static_cast<uint8_t>(in[0]) * size_t{256} + static_cast<uint8_t>(in[1]);
  if (in.size() - 2 < size) return std::nullopt;
  const absl::string_view part = in.substr(2, size);
  in.remove_prefix(2 + size);
  return part;
}

std::string SignedText(absl::string_view body) { return absl::StrCat(kPurpose, body); }

// Takes as long for a mac that differs in the first byte as for one that differs in the last.
bool SameMac(const TokenKey::Mac& expected, absl::string_view given) {
  if (given.size() != kMacSize) return false;
  uint8_t difference = 0;
  for (size_t i = 0; i < kMacSize; ++i) difference |= expected[i] ^ static_cast<uint8_t>(given[i]);
  return difference == 0;
}

}  // namespace

std::string EncodeLeaseToken(const TokenClaims& claims, const TokenKey& key) {
  const std::string lease = FormatLeaseId(claims.lease);
  std::string body(1, kVersion);
  body.reserve(lease.size() + claims.tenant.size() + claims.server_address.size() + kMacSize + kLengths);
  PutPart(body, lease);
  PutPart(body, claims.tenant.substr(0, kMaxPart));
  PutPart(body, claims.server_address.substr(0, kMaxPart));
  const TokenKey::Mac mac = key.Sign(SignedText(body));
  body.append(mac.begin(), mac.end());
  return absl::WebSafeBase64Escape(body);
}

std::optional<TokenClaims> DecodeLeaseToken(absl::string_view token, const TokenKey& key) {
  std::string bytes;
  if (token.size() > kMaxTokenLength || !absl::WebSafeBase64Unescape(token, &bytes)) return std::nullopt;
  // The decoder also takes padding, blanks and stray last bits: one token has one spelling.
  if (absl::WebSafeBase64Escape(bytes) != token || bytes.size() < kMacSize + 1) return std::nullopt;
  absl::string_view body(bytes);
  const absl::string_view mac = body.substr(body.size() - kMacSize);
  body.remove_suffix(kMacSize);
  if (!SameMac(key.Sign(SignedText(body)), mac) || body[0] != kVersion) return std::nullopt;

  body.remove_prefix(1);
  const auto id = TakePart(body);
  const auto tenant = id ? TakePart(body) : std::nullopt;
  const auto address = tenant ? TakePart(body) : std::nullopt;
  if (!address || !body.empty()) return std::nullopt;
  const std::optional<LeaseId> lease = ParseLeaseId(*id);
  if (!lease) return std::nullopt;
  return TokenClaims{*lease, std::string(*tenant), std::string(*address)};
}

}  // namespace pglessor::core
