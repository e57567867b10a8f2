// Which connection is wanted, for whom, for how long.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

namespace pglessor {

enum class Priority { kLow, kNormal, kHigh };

// What is left unset here is taken from ClientOptions::acquire, and what is unset there too is the server's
// or the pool's default.
struct AcquireOptions {
  std::string pool = {};
  std::string tenant = {};
  // Who will hold it, for those who look at the server: "billing-7f9c/charge". At most 256 bytes.
  std::string holder = {};
  // How long the lease lives when it is not renewed: the time after which the connection is free again if
  // this process dies. The client renews it in the background, so that it needs not cover the work.
  std::optional<std::chrono::nanoseconds> ttl = {};
  // The longest wait for capacity. Zero: do not queue.
  std::optional<std::chrono::nanoseconds> wait_timeout = {};
  std::optional<Priority> priority = {};
  // Whether the pool that the server's configuration names as a fallback will do where `pool` itself cannot
  // serve it: a replica, as a rule, where writes may fail. Lease::fallback_for() then says so.
  std::optional<bool> allow_fallback = {};
  // To find the lease by; at most 16.
  std::map<std::string, std::string> tags = {};
  // A UUID that makes it safe to repeat an Acquire whose answer was lost: the same one gives the same lease.
  // Empty, as it should be unless the caller repeats it itself.
  std::string request_id = {};
  // The call's deadline, this long from its start. Unset: wait_timeout and ten seconds, or a minute where
  // that is unset too.
  std::optional<std::chrono::nanoseconds> timeout = {};
};

}  // namespace pglessor
