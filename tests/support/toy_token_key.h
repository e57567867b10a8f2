// A keyed hash that proves nothing to an attacker and needs no library: for tests of what is done
// with it.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

#include "server/core/lease_token.h"

namespace pglessor::test {

class ToyTokenKey : public core::TokenKey {
 public:
  explicit ToyTokenKey(uint64_t key = 1) : key_(key) {}

  // FNV-1a over the key's number and the text, once with each byte's place for a start.
  Mac Sign(absl::string_view text) const override {
    Mac mac{};
    for (size_t place = 0; place < mac.size(); ++place) {
      uint64_t hash = 14695981039346656037U ^ (key_ * 0x9e3779b97f4a7c15U) ^ place;
      for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211U;
      hash ^= hash >> 32;  // else the last letters do not reach the upper bits
      hash *= 0xd6e8feb86659fd93U;
      mac[place] = static_cast<uint8_t>(hash >> 56);
    }
    return mac;
  }

 private:
  const uint64_t key_;
};

}  // namespace pglessor::test
