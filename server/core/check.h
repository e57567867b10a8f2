// PGLESSOR_CHECK ends the process when an invariant of ours is broken.
//
// It is for what *we* did wrong (a slot freed twice, a sum that does not add up), never for what the
// world does: bad input, a dead database and a vanished caller are answered with absl::Status.
#pragma once

namespace pglessor::core {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, const char* why);

}  // namespace pglessor::core

#define PGLESSOR_CHECK(condition, why) \
  (static_cast<bool>(condition) ? void() : ::pglessor::core::CheckFailed(__FILE__, __LINE__, #condition, why))
