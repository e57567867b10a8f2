#include "tests/sim/postgres.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "server/core/error.h"

namespace pglessor::core::sim {

using std::chrono::milliseconds;

void Postgres::Open(const OpenRequest& request, Opened opened, Connection::Callback lost) {
  ++opening_;
  ++opens_asked_;
  Openings how = openings_;
  if (how == Openings::kSucceed && stage_.random.Percent(mood_.trouble)) {
    how = stage_.random.Percent(50) ? Openings::kRefused : Openings::kHang;
  }
  if (how == Openings::kSucceed) {
    stage_.Later(stage_.random.Between(Duration(1), stage_.random.Percent(90) ? milliseconds(20) : kOpening),
                 [this, role = request.role, opened = std::move(opened), lost = std::move(lost)]() mutable {
                   Finish(std::move(opened), std::move(role), std::move(lost));
                 });
    return;
  }
  absl::Status why;
  Duration after = stage_.random.Between(Duration(1), milliseconds(10));
  switch (how) {
    case Openings::kTooMany:
      why = absl::ResourceExhaustedError("too many connections");
      break;
    case Openings::kBadCredentials:
      why = MakeError(absl::StatusCode::kFailedPrecondition, "it refuses the password",
                      {.reason = reason::kDatabaseAuthFailed});
      break;
    case Openings::kHang:
      after = request.timeout;
      why = absl::UnavailableError("timed out");
      break;
    default:
      why = absl::UnavailableError("refused");
  }
  stage_.Later(after, [this, why, opened = std::move(opened)]() mutable {
    --opening_;
    opened(why);
  });
}

void Postgres::Finish(Opened opened, std::string role, Connection::Callback lost) {
  --opening_;
  ++open_;
  const auto pid = kFirstPid + static_cast<int32_t>(backends_.size());
  stage_.history.Note(absl::StrCat("backend ", pid, " is open"));
  backends_.push_back(
      std::make_shared<Backend>(stage_, mood_, pid, std::move(role), std::move(lost), [this, pid] {
        --open_;
        stage_.history.Note(absl::StrCat("backend ", pid, " has gone"));
      }));
  opened(std::shared_ptr<Connection>(backends_.back()));
}

void Postgres::SetOpenings(Openings how) {
  openings_ = how;
  mood_.closings_stick = how != Openings::kSucceed;
}

std::vector<Backend*> Postgres::Living() const {
  std::vector<Backend*> living;
  for (const auto& backend : backends_) {
    if (!backend->lost() && !backend->fake().closing()) living.push_back(backend.get());
  }
  return living;
}

void Postgres::KillOne() {
  const std::vector<Backend*> living = Living();
  if (living.empty()) return;
  Backend* const backend = stage_.random.Any(living);
  stage_.history.Note(absl::StrCat("backend ", backend->backend_pid(), " dies"));
  backend->Die();
}

void Postgres::KillAll() {
  stage_.history.Note("all backends die");
  for (Backend* const backend : Living()) backend->Die();
}

void Postgres::Calm() {
  mood_.trouble = 0;
  SetOpenings(Openings::kSucceed);
  for (const auto& backend : backends_) {
    if (backend->stuck()) backend->LetGo();
  }
}

int32_t Postgres::stuck() const {
  return static_cast<int32_t>(std::count_if(backends_.begin(), backends_.end(),
                                            [](const auto& backend) { return backend->stuck(); }));
}

int32_t Postgres::probing(const std::string& role) const {
  return static_cast<int32_t>(std::count_if(backends_.begin(), backends_.end(), [&](const auto& backend) {
    return backend->probing() && backend->role() == role;
  }));
}

const Backend* Postgres::Find(int32_t pid) const {
  const int32_t position = pid - kFirstPid;
  if (position < 0 || position >= static_cast<int32_t>(backends_.size())) return nullptr;
  return backends_[static_cast<size_t>(position)].get();
}

}  // namespace pglessor::core::sim
