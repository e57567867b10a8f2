#include "client/internal/background.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace pglessor::internal {
namespace {

using std::chrono::system_clock;

// Longer than this the thread does not sleep in one go: what it sleeps by does not count while the host is
// suspended, and leases do.
constexpr Duration kLongestSleep = std::chrono::minutes(1);

}  // namespace

absl::StatusOr<std::shared_ptr<Background>> Background::Create() {
  std::shared_ptr<Background> background(new Background);
  try {
    background->thread_ = std::thread([raw = background.get()] { raw->Run(); });
  } catch (const std::system_error& error) {
    MutexLock lock(background->mutex_);
    background->stopped_ = true;
    return absl::ResourceExhaustedError(absl::StrCat("starting the client's thread: ", error.what()));
  }
  return background;
}

Background::~Background() {
  if (thread_.joinable()) Stop();
}

Background::TimerId Background::NewTimer() {
  MutexLock lock(mutex_);
  return ++last_timer_;
}

void Background::SetTimer(TimerId id, Time due, OnWake on_wake) {
  CancelTimer(id);
  bool earliest = false;
  {
    MutexLock lock(mutex_);
    if (stopping_) return;
    timers_.insert_or_assign(id, Timer{due, std::move(on_wake)});
    const auto set = due_.emplace(due, id);
    earliest = set == due_.begin();
  }
  // On its own thread it looks at the timers anyway before it sleeps.
  if (earliest && std::this_thread::get_id() != thread_.get_id()) WakeThread();
}

void Background::CancelTimer(TimerId id) {
  OnWake cancelled;  // destroyed outside the lock, with all that it holds
  MutexLock lock(mutex_);
  const auto found = timers_.find(id);
  if (found == timers_.end()) return;
  const auto [begin, end] = due_.equal_range(found->second.due);
  due_.erase(std::find_if(begin, end, [id](const auto& entry) { return entry.second == id; }));
  cancelled = std::move(found->second.on_wake);
  timers_.erase(found);
}

void Background::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  WakeThread();
  thread_.join();
}

system_clock::time_point Background::DeadlineIn(Duration timeout) {
  const auto now = system_clock::now();
  if (timeout >= system_clock::time_point::max() - now) return system_clock::time_point::max();
  return now + std::chrono::duration_cast<system_clock::duration>(timeout);
}

void Background::Run() {
  for (;;) {
    RunTimers();
    Duration sleep = kLongestSleep;
    bool finished = false;
    {
      MutexLock lock(mutex_);
      if (!due_.empty()) sleep = std::min(sleep, due_.begin()->first - BootNow());
      if (stopping_ && arriving_ == 0 && !stopped_) stopped_ = finished = true;
    }
    if (finished) queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    switch (queue_.AsyncNext(&tag, &ok, DeadlineIn(sleep))) {
      case grpc::CompletionQueue::SHUTDOWN:
        return;
      case grpc::CompletionQueue::TIMEOUT:
        break;
      case grpc::CompletionQueue::GOT_EVENT: {
        const std::unique_ptr<Event> event(static_cast<Event*>(tag));
        event->Happened();
        End();
        break;
      }
    }
  }
}

void Background::RunTimers() {
  std::vector<OnWake> woken;
  Wake why = Wake::kDue;
  {
    MutexLock lock(mutex_);
    if (stopping_) why = Wake::kStopping;
    const Time now = BootNow();
    while (!due_.empty() && (stopping_ || due_.begin()->first <= now)) {
      const auto timer = timers_.find(due_.begin()->second);
      woken.push_back(std::move(timer->second.on_wake));
      timers_.erase(timer);
      due_.erase(due_.begin());
    }
  }
  for (const OnWake& on_wake : woken) on_wake(why);
}

bool Background::Begin() {
  MutexLock lock(mutex_);
  if (stopped_) return false;
  ++arriving_;
  return true;
}

void Background::End() {
  MutexLock lock(mutex_);
  --arriving_;
}

void Background::WakeThread() {
  {
    MutexLock lock(mutex_);
    if (stopped_ || waking_) return;
    waking_ = true;
    ++arriving_;
  }
  // A new one each time: the last one may still be returning from its Set in another thread.
  auto* const woken = new Woken(*this);
  woken->alarm.Set(&queue_, system_clock::now(), static_cast<Event*>(woken));
}

void Background::Woken::Happened() {
  MutexLock lock(background.mutex_);
  background.waking_ = false;
}

}  // namespace pglessor::internal
