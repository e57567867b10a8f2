// The key that lease tokens are signed with: 32 random bytes a process, HMAC-SHA256 (RFC 2104) by OpenSSL.
#pragma once

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"

#include "server/core/lease_token.h"

namespace pglessor {

// Threads: any.
class HmacKey : public core::TokenKey {
 public:
  // Draws the key.
  HmacKey();
  ~HmacKey() override;  // wipes it
  HmacKey(const HmacKey&) = delete;
  HmacKey& operator=(const HmacKey&) = delete;

  Mac Sign(absl::string_view text) const override;

 private:
  std::array<uint8_t, 32> key_{};
};

}  // namespace pglessor
