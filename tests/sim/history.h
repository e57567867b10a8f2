// What happened in a run, step by step: its last lines are what a failure shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "absl/strings/string_view.h"

#include "server/core/clock.h"

namespace pglessor::core::sim {

class History {
 public:
  History(uint64_t seed, const Clock& clock) : seed_(seed), clock_(clock), began_(clock.Now()) {}

  // Keeps every line from now on, not only the last.
  void KeepAll() { kept_ = SIZE_MAX; }

  void NextStep() { ++step_; }
  uint64_t step() const { return step_; }

  void Note(absl::string_view what);
  // `invariant` is its name, as S1. The first violation is the one that counts: what follows from it is
  // noise.
  void Violate(absl::string_view invariant, absl::string_view what);
  bool violated() const { return !violation_.empty(); }

  // Seed, step, the violation, the last lines, and how to see it again.
  std::string Report() const;
  // Equal for two runs in which the same happened.
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  const uint64_t seed_;
  const Clock& clock_;
  const Time began_;
  size_t kept_ = 40;  // lines
  uint64_t step_ = 0;
  std::deque<std::string> lines_;
  std::string violation_;
  uint64_t fingerprint_ = 14695981039346656037U;
};

}  // namespace pglessor::core::sim
