#include "server/hmac_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "server/core/check.h"

namespace pglessor {

HmacKey::HmacKey() {
  PGLESSOR_CHECK(RAND_bytes(key_.data(), static_cast<int>(key_.size())) == 1,
                 "the operating system gives random bytes");
}

HmacKey::~HmacKey() { OPENSSL_cleanse(key_.data(), key_.size()); }

core::TokenKey::Mac HmacKey::Sign(absl::string_view text) const {
  Mac mac{};
  unsigned int size = 0;
  const unsigned char* const signed_text =
      HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), &size);
  PGLESSOR_CHECK(signed_text != nullptr && size == mac.size(), "HMAC-SHA256 is there and gives 32 bytes");
  return mac;
}

}  // namespace pglessor
