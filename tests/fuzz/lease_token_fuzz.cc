// A lease token is the first thing that a stranger sends us. Nothing that he makes up is taken for one; and
// what is taken is written back the same.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "server/core/lease_token.h"
#include "tests/fuzz/fuzz_check.h"
#include "tests/support/toy_token_key.h"

namespace pglessor::core {
namespace {

void CheckText(const std::string& token, const TokenKey& key) {
  const auto claims = DecodeLeaseToken(token, key);
  if (claims) FUZZ_CHECK(EncodeLeaseToken(*claims, key) == token);
}

// The input signed as if we had made it, so that what stands behind the signature is reached.
std::string Signed(const std::string& body, const TokenKey& key) {
  const TokenKey::Mac mac = key.Sign(absl::StrCat("pglessor-lease-v1", body));
  return absl::WebSafeBase64Escape(absl::StrCat(body, std::string(mac.begin(), mac.end())));
}

void CheckInput(const std::string& input) {
  const test::ToyTokenKey key;
  CheckText(input, key);
  CheckText(absl::WebSafeBase64Escape(input), key);
  CheckText(Signed(input, key), key);
}

}  // namespace
}  // namespace pglessor::core

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  pglessor::core::CheckInput(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
