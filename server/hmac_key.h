// The key that lease tokens are signed with: 32 random bytes a process, HMAC-SHA256 (RFC 2104) by OpenSSL.
//
// OpenSSL looks up its algorithms by name for each HMAC that is made from nothing, which takes five times as
// long as the HMAC itself. So one is prepared with the key, and begins anew for each text.
#pragma once

#include <openssl/evp.h>

#include <memory>

#include "absl/strings/string_view.h"

#include "server/core/lease_token.h"
#include "server/core/mutex.h"

namespace pglessor {

// Threads: any; they take turns, of a quarter of a microsecond.
class HmacKey : public core::TokenKey {
 public:
  // Draws the key.
  HmacKey();
  HmacKey(const HmacKey&) = delete;
  HmacKey& operator=(const HmacKey&) = delete;

  Mac Sign(absl::string_view text) const override;

 private:
  struct Free {
    void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }  // wipes the key
  };

  mutable core::Mutex mutex_;
  const std::unique_ptr<EVP_MAC_CTX, Free> keyed_ ABSL_PT_GUARDED_BY(mutex_);
};

}  // namespace pglessor
