#include "server/core/utf8.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace pglessor::core {
namespace {

constexpr char kReplacement[] = "\xef\xbf\xbd";

}  // namespace

size_t FirstCharacterLength(absl::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (byte(0) < 0x80) return 1;
  // 0xc0 and 0xc1 would begin what fits into one byte, 0xf5 and above what is beyond U+10FFFF.
  if (byte(0) < 0xc2 || byte(0) > 0xf4) return 0;
  const size_t length = byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : 4;
  if (text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Longer than need be, half of a surrogate pair, or beyond the range.
  const bool bad = (byte(0) == 0xe0 && byte(1) < 0xa0) || (byte(0) == 0xed && byte(1) >= 0xa0) ||
                   (byte(0) == 0xf0 && byte(1) < 0x90) || (byte(0) == 0xf4 && byte(1) >= 0x90);
  return bad ? 0 : length;
}

std::string ToValidUtf8(absl::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const size_t length = FirstCharacterLength(text);
    if (length == 0) {
      valid += kReplacement;
    } else {
      absl::StrAppend(&valid, text.substr(0, length));
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return valid;
}

}  // namespace pglessor::core
