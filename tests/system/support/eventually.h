// Waiting for what happens in other processes. Only ever for something that can be looked at, and never
// longer than needed.
#pragma once

#include <chrono>
#include <thread>

namespace pglessor::system {

// Far longer than anything takes here: a slow machine must not fail a test. Where the contract states a
// bound, it is measured and not waited for.
inline constexpr std::chrono::seconds kPatience(60);

// Whether it comes true in time.
template <typename Condition>
bool Eventually(const Condition& condition, std::chrono::milliseconds patience = kPatience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace pglessor::system
