// UTF-8 (RFC 3629), for texts that others wrote and others will read.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace pglessor::core {

// The bytes of the first character of `text`; 0 if it does not begin with one, or is empty.
size_t FirstCharacterLength(absl::string_view text);

// `text`, with U+FFFD for each byte that belongs to no character.
std::string ToValidUtf8(absl::string_view text);

}  // namespace pglessor::core
