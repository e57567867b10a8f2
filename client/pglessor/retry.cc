#include "pglessor/retry.h"

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <thread>

#include "absl/strings/string_view.h"

#include "client/internal/status.h"
#include "pglessor/error.h"

namespace pglessor {
namespace {

// LEASE_BUSY is not among them: another thread of the caller's own is at work there.
constexpr std::array<absl::string_view, 14> kSafeReasons = {
    "BREAKER_OPEN",  "CONNECTION_LOST", "DATABASE_UNAVAILABLE",  "DRAINING",           "LEASE_DRAINED",
    "LEASE_EXPIRED", "LEASE_REVOKED",   "LEASE_UNCLAIMED",       "NO_IDLE_CONNECTION", "POOL_EXHAUSTED",
    "POOL_RESET",    "RATE_LIMITED",    "TENANT_QUOTA_EXCEEDED", "WAIT_QUEUE_FULL",
};
constexpr std::array<absl::string_view, 3> kSafeSqlStates = {"40001", "40P01", "55P03"};

template <typename Container>
bool Has(const Container& container, absl::string_view wanted) {
  return std::find(container.begin(), container.end(), wanted) != container.end();
}

}  // namespace

bool IsSafeToRetry(const absl::Status& status) {
  if (status.ok() || internal::IsOfRelease(status)) return false;
  const std::string reason = ErrorReason(status);
  if (reason == "SQL_ERROR") return Has(kSafeSqlStates, SqlState(status));
  // Without a reason it is gRPC's: of a statement that may have left it would be COMMIT_OUTCOME_UNKNOWN.
  if (reason.empty()) return status.code() == absl::StatusCode::kUnavailable;
  return status.code() != absl::StatusCode::kUnknown && Has(kSafeReasons, reason);
}

namespace internal {

void PauseBeforeRetry(const RetryOptions& options, int failed, const absl::Status& why) {
  thread_local std::minstd_rand random{std::random_device{}()};
  const int doublings = std::clamp(failed - 1, 0, 20);
  const std::chrono::nanoseconds longest =
      std::min(options.longest_pause, options.first_pause * (int64_t{1} << doublings));
  // So that callers that failed together do not all come back together.
  std::uniform_int_distribution<int64_t> jittered(longest.count() / 2, longest.count());
  std::this_thread::sleep_for(std::max(std::chrono::nanoseconds(jittered(random)),
                                       RetryDelay(why).value_or(std::chrono::nanoseconds(0))));
}

}  // namespace internal
}  // namespace pglessor
