#include "server/core/request_table.h"

#include <algorithm>
#include <utility>

#include "server/core/error.h"

namespace pglessor::core {

// Guarded by the table's mutex.
struct RequestTable::Entry {
  Key key;
  AcquireRequest request;
  Pool* pool = nullptr;  // the first attempt's
  Duration unclaimed_timeout{};
  std::vector<AttemptRef> attempts;
  std::optional<Place> place;
  bool queues = true;
  Time wait_until{};  // the latest of the attempts' deadlines
  std::optional<LeaseCounter> lease;
  bool delivered = false;  // some attempt has the lease
  bool giving_up = false;
  bool known = true;  // still in the table, as it is until its place has an outcome
  std::optional<Time> give_up;
};

namespace {

bool SameBody(const AcquireRequest& a, const AcquireRequest& b) {
  return a.pool == b.pool && a.holder == b.holder && a.ttl == b.ttl && a.priority == b.priority &&
         a.allow_fallback == b.allow_fallback && a.tags == b.tags && a.renewal == b.renewal;
}

}  // namespace

RequestTable::~RequestTable() {
  const MutexLock lock(mutex_);
  for (const auto& [key, entry] : entries_) entry->attempts.clear();
}

absl::StatusOr<RequestTable::Joined> RequestTable::Join(const AcquireRequest& request,
                                                        Duration unclaimed_timeout,
                                                        const AttemptRef& attempt) {
  Key key = KeyOf(request);
  const MutexLock lock(mutex_);
  auto [found, first] = entries_.try_emplace(key);
  if (first) {
    // Shared by the table and all attempts.
    found->second = std::make_shared<Entry>();
    found->second->key = std::move(key);
    found->second->request = request;
    found->second->pool = attempt->pool;
    found->second->unclaimed_timeout = unclaimed_timeout;
    found->second->queues = attempt->deadline > attempt->since;
    found->second->wait_until = attempt->unqueued_deadline;
  }
  const std::shared_ptr<Entry> entry = found->second;
  if (!SameBody(entry->request, request)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     "request_id: another acquire was made with this id; a retry must be equal in all but "
                     "wait_timeout, and a new acquire needs a new id",
                     {.reason = reason::kRequestIdReused});
  }
  Joined joined;
  joined.first = first;
  joined.lease = entry->lease;
  joined.giving_up = entry->giving_up;
  if (!entry->queues) attempt->deadline = attempt->unqueued_deadline;
  Attach(attempt, entry);
  if (entry->lease) {
    attempt->answered = true;  // by the caller, at once
  } else {
    deadlines_.emplace(attempt->deadline, attempt);
    if (attempt->deadline > entry->wait_until) {
      entry->wait_until = attempt->deadline;
      joined.extend = entry->place;
    }
  }
  return joined;
}

RequestTable::Key RequestTable::KeyOf(const AcquireRequest& request) {
  return {request.identity, request.tenant, request.request_id};
}

Pool* RequestTable::PoolOf(const AcquireRequest& request) const {
  const Key key = KeyOf(request);
  const MutexLock lock(mutex_);
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : found->second->pool;
}

void RequestTable::Attach(const AttemptRef& attempt, const std::shared_ptr<Entry>& entry) {
  attempt->entry = entry;
  attempt->attached = true;
  entry->attempts.push_back(attempt);
  if (entry->give_up) give_ups_.erase({*entry->give_up, entry});
  entry->give_up.reset();
}

void RequestTable::Detach(const AttemptRef& attempt) {
  attempt->attached = false;
  std::erase(attempt->entry->attempts, attempt);
  deadlines_.erase({attempt->deadline, attempt});
}

RequestTable::Keep RequestTable::Queued(const AttemptRef& first, Place place) {
  Keep keep;
  const MutexLock lock(mutex_);
  Entry& entry = *first->entry;
  if (entry.place && place.step < entry.place->step) return keep;
  entry.place = place;
  if (entry.wait_until > first->deadline) keep.until = entry.wait_until;
  keep.given_up = entry.giving_up;
  return keep;
}

RequestTable::Answer RequestTable::Granted(const AttemptRef& first, LeaseCounter lease) {
  Answer answer;
  const MutexLock lock(mutex_);
  const std::shared_ptr<Entry> entry = first->entry;
  entry->lease = lease;
  // Who came after it was given up claims it.
  entry->giving_up = entry->giving_up && entry->attempts.empty();
  answer.given_up = entry->giving_up;
  granted_.emplace(lease, entry);
  for (const AttemptRef& attempt : entry->attempts) {
    if (attempt->answered) continue;
    attempt->answered = true;
    deadlines_.erase({attempt->deadline, attempt});
    answer.attempts.push_back(attempt);
  }
  return answer;
}

RequestTable::Answer RequestTable::Failed(const AttemptRef& first) {
  Answer answer;
  const MutexLock lock(mutex_);
  const std::shared_ptr<Entry> entry = first->entry;
  if (std::exchange(entry->giving_up, false) && !entry->attempts.empty()) {
    entry->place.reset();
    entry->wait_until = Time::min();
    for (const AttemptRef& attempt : entry->attempts) {
      entry->wait_until = std::max(entry->wait_until, attempt->deadline);
    }
    answer.again = entry->wait_until;
    return answer;
  }
  for (const AttemptRef& attempt : std::vector<AttemptRef>(entry->attempts)) {
    Detach(attempt);
    if (std::exchange(attempt->answered, true)) continue;
    answer.attempts.push_back(attempt);
  }
  Drop(entry);
  return answer;
}

bool RequestTable::Over(const AttemptRef& attempt, bool delivered, Time now) {
  const MutexLock lock(mutex_);
  const std::shared_ptr<Entry> entry = attempt->entry;
  const bool unanswered = !std::exchange(attempt->answered, true);
  if (!attempt->attached) return unanswered;
  Detach(attempt);
  if (delivered) entry->delivered = true;
  GiveUpLater(entry, now);
  return unanswered;
}

void RequestTable::GiveUpLater(const std::shared_ptr<Entry>& entry, Time now) {
  if (!entry->attempts.empty() || entry->delivered || !entry->known || entry->give_up) return;
  entry->give_up = SaturatingAdd(now, entry->unclaimed_timeout);
  give_ups_.emplace(*entry->give_up, entry);
}

RequestTable::Due RequestTable::TakeDue(Time now) {
  Due due;
  const MutexLock lock(mutex_);
  while (!give_ups_.empty() && give_ups_.begin()->first <= now) {
    const std::shared_ptr<Entry> entry = give_ups_.begin()->second;
    give_ups_.erase(give_ups_.begin());
    entry->give_up.reset();
    entry->giving_up = true;
    if (entry->lease) {
      due.unclaimed.push_back(*entry->lease);
    } else if (entry->place) {
      due.places.push_back(*entry->place);
    }
  }
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const AttemptRef attempt = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    // The place's own deadline ends the last of them.
    if (attempt->answered || attempt->deadline >= attempt->entry->wait_until) continue;
    Detach(attempt);
    // The one that made the place last longer may have gone before.
    GiveUpLater(attempt->entry, now);
    attempt->answered = true;
    due.late.push_back(attempt);
  }
  return due;
}

void RequestTable::Forget(LeaseCounter lease) {
  const MutexLock lock(mutex_);
  const auto found = granted_.find(lease);
  if (found == granted_.end()) return;
  const std::shared_ptr<Entry> entry = std::move(found->second);
  granted_.erase(found);
  Drop(entry);
}

void RequestTable::Drop(const std::shared_ptr<Entry>& entry) {
  if (!std::exchange(entry->known, false)) return;
  if (entry->give_up) give_ups_.erase({*entry->give_up, entry});
  entry->give_up.reset();
  entries_.erase(entry->key);
}

size_t RequestTable::size() const {
  const MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace pglessor::core
