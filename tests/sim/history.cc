#include "tests/sim/history.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace pglessor::core::sim {

void History::Note(absl::string_view what) {
  const double milliseconds = std::chrono::duration<double, std::milli>(clock_.Now() - began_).count();
  lines_.push_back(absl::StrFormat("%6u %12.3f ms  %s", step_, milliseconds, what));
  if (lines_.size() > kept_) lines_.pop_front();
  for (const char c : lines_.back()) {  // FNV-1a
    fingerprint_ = (fingerprint_ ^ static_cast<uint8_t>(c)) * 1099511628211U;
  }
}

void History::Violate(absl::string_view invariant, absl::string_view what) {
  if (violated()) return;
  violation_ = absl::StrCat(invariant, ": ", what);
  Note(absl::StrCat("VIOLATED ", violation_));
}

std::string History::Report() const {
  return absl::StrCat("seed ", seed_, ", step ", step_, ": ", violation_.empty() ? "(see above)" : violation_,
                      "\n  step          time  what\n", absl::StrJoin(lines_, "\n"),
                      "\nthe same again: script/sim --seed ", seed_, "\n");
}

}  // namespace pglessor::core::sim
