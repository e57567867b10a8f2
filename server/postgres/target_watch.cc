#include "server/postgres/target_watch.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace pglessor::postgres {
namespace {

constexpr core::Duration kPeriod = std::chrono::seconds(1);
constexpr core::Duration kRetryPause = std::chrono::milliseconds(100);

constexpr char kWhatIsIt[] =
    "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'a standby' "
    "WHEN pg_catalog.current_setting('transaction_read_only') = 'on' THEN 'read-only' "
    "ELSE 'a primary' END";
constexpr char kPrimary[] = "a primary";

const char* NameOf(TargetSession target) {
  return target == TargetSession::kReadWrite ? "read-write" : "read-only";
}

}  // namespace

TargetWatch::TargetWatch(executor::EventLoop& loop, ControlConnection& control, TargetSession wanted)
    : loop_(loop), control_(control), wanted_(wanted) {
  if (wanted_ != TargetSession::kAny)
    verdict_ = absl::UnavailableError("it is not known yet whether the database is a primary");
}

void TargetWatch::Start(absl::AnyInvocable<void()> turned_wrong) {
  if (wanted_ == TargetSession::kAny) return;
  loop_.Post([this, turned_wrong = std::move(turned_wrong)]() mutable {
    turned_wrong_ = std::move(turned_wrong);
    Ask();
  });
}

void TargetWatch::Stop() {
  loop_.Post([this] { turned_wrong_ = [] {}; });
}

absl::Status TargetWatch::Check() const { return verdict_; }

void TargetWatch::Ask() {
  // While the control connection is away the question waits, and is among the first that the next one
  // answers.
  control_.Query(kWhatIsIt, [this](const absl::StatusOr<std::string>& answer) { OnAnswer(answer); });
}

void TargetWatch::OnAnswer(const absl::StatusOr<std::string>& answer) {
  if (!answer.ok()) {
    loop_.RunAfter(kRetryPause, [this] { Ask(); });
    return;
  }
  const bool was_right = verdict_.ok();
  const bool right = (*answer == kPrimary) == (wanted_ == TargetSession::kReadWrite);
  verdict_ =
      right
          ? absl::OkStatus()
          : absl::UnavailableError(absl::StrCat("the database is ", *answer, "; expected ", NameOf(wanted_)));
  if (was_right && !right) turned_wrong_();
  loop_.RunAfter(kPeriod, [this] {
    if (!verdict_.ok()) control_.Reopen();
    Ask();
  });
}

}  // namespace pglessor::postgres
