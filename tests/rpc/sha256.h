// How a bearer secret is written in IdentityOptions.
#pragma once

#include <openssl/sha.h>

#include <string>

namespace pglessor::test {

inline std::string Sha256(const std::string& text) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

}  // namespace pglessor::test
