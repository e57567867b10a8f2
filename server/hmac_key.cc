#include "server/hmac_key.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <array>
#include <string>

#include "server/core/check.h"

namespace pglessor {
namespace {

EVP_MAC_CTX* NewContext() {
  EVP_MAC* const hmac = EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_HMAC, nullptr);
  PGLESSOR_CHECK(hmac != nullptr, "OpenSSL has HMAC");
  EVP_MAC_CTX* const context = EVP_MAC_CTX_new(hmac);
  EVP_MAC_free(hmac);  // the context keeps it
  PGLESSOR_CHECK(context != nullptr, "there is memory for it");
  return context;
}

}  // namespace

HmacKey::HmacKey() : keyed_(NewContext()) {
  std::array<unsigned char, 32> key{};
  PGLESSOR_CHECK(RAND_bytes(key.data(), static_cast<int>(key.size())) == 1,
                 "the operating system gives random bytes");
  std::string digest = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), digest.size()),
      OSSL_PARAM_construct_end()};
  const core::MutexLock lock(mutex_);
  PGLESSOR_CHECK(EVP_MAC_init(keyed_.get(), key.data(), key.size(), parameters) == 1,
                 "OpenSSL has HMAC-SHA256");
  OPENSSL_cleanse(key.data(), key.size());
}

core::TokenKey::Mac HmacKey::Sign(absl::string_view text) const {
  Mac mac{};
  size_t size = 0;
  const core::MutexLock lock(mutex_);
  // Without a key it begins anew with the one that it has.
  const bool signed_text =
      EVP_MAC_init(keyed_.get(), nullptr, 0, nullptr) == 1 &&
      EVP_MAC_update(keyed_.get(), reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1 &&
      EVP_MAC_final(keyed_.get(), mac.data(), &size, mac.size()) == 1;
  PGLESSOR_CHECK(signed_text && size == mac.size(), "HMAC-SHA256 is there and gives 32 bytes");
  return mac;
}

}  // namespace pglessor
