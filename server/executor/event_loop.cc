#include "server/executor/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "server/core/check.h"

namespace pglessor::executor {
namespace {

constexpr uint64_t kWakeId = 0;

}  // namespace

EventLoop::Watch::~Watch() {
  epoll_ctl(loop_.epoll_, EPOLL_CTL_DEL, fd_, nullptr);
  loop_.watches_.erase(id_);
}

void EventLoop::Watch::Want(bool read, bool write) {
  const uint32_t wanted = (read ? EPOLLIN : 0U) | (write ? EPOLLOUT : 0U);
  if (wanted == wanted_) return;
  wanted_ = wanted;
  epoll_event event{.events = wanted, .data = {.u64 = id_}};
  // It fails only where a library has closed the socket under its owner, who is about to hear of that.
  epoll_ctl(loop_.epoll_, EPOLL_CTL_MOD, fd_, &event);
}

EventLoop::EventLoop(const core::Clock& clock)
    : clock_(clock), epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  PGLESSOR_CHECK(epoll_ >= 0 && wake_ >= 0, "the process has file descriptors for its event loop");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWakeId}};
  PGLESSOR_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) == 0, "an eventfd can be waited for");
}

EventLoop::~EventLoop() {
  close(wake_);
  close(epoll_);
}

void EventLoop::Post(Task task) {
  bool was_empty = false;
  {
    const core::MutexLock lock(mutex_);
    was_empty = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (was_empty) Wake();
}

void EventLoop::PostAt(core::Time at, Task task) {
  Post([this, at, task = std::move(task)]() mutable { RunAt(at, std::move(task)); });
}

std::unique_ptr<EventLoop::Watch> EventLoop::WatchSocket(int fd, OnReady ready) {
  const uint64_t id = ++last_id_;
  epoll_event event{.events = 0, .data = {.u64 = id}};
  PGLESSOR_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0,
                 "a watched socket is open, and watched once");
  watches_.emplace(id, std::move(ready));
  return std::unique_ptr<Watch>(new Watch(*this, fd, id));
}

EventLoop::TimerId EventLoop::RunAt(core::Time at, Task task) {
  const TimerId id{at, ++last_id_};
  timers_.emplace(id, std::move(task));
  return id;
}

EventLoop::TimerId EventLoop::RunAfter(core::Duration span, Task task) {
  return RunAt(core::SaturatingAdd(Now(), span), std::move(task));
}

void EventLoop::Cancel(TimerId timer) { timers_.erase(timer); }

void EventLoop::Run() {
  std::array<epoll_event, 64> events{};
  while (true) {
    {
      const core::MutexLock lock(mutex_);
      if (stopping_) return;
    }
    const int ready = epoll_wait(epoll_, events.data(), events.size(), NextTimeoutMilliseconds());
    PGLESSOR_CHECK(ready >= 0 || errno == EINTR, "epoll_wait fails only by a signal");
    for (int i = 0; i < ready; ++i) {
      const uint64_t id = events[static_cast<size_t>(i)].data.u64;
      const uint32_t what = events[static_cast<size_t>(i)].events;
      if (id == kWakeId) {
        uint64_t count = 0;
        // Empty already: another wake-up took it.
        [[maybe_unused]] const ssize_t got = read(wake_, &count, sizeof(count));
        continue;
      }
      // An earlier event of this round may have ended the watch. The copy lets this one end it.
      const auto watch = watches_.find(id);
      if (watch == watches_.end()) continue;
      const OnReady on_ready = watch->second;
      const bool broken = (what & (EPOLLERR | EPOLLHUP)) != 0;
      on_ready(broken || (what & EPOLLIN) != 0, broken || (what & EPOLLOUT) != 0);
    }
    RunPosted();
    RunDue();
  }
}

void EventLoop::Stop() {
  {
    const core::MutexLock lock(mutex_);
    stopping_ = true;
  }
  Wake();
}

void EventLoop::RunPosted() {
  std::vector<Task> tasks;
  {
    const core::MutexLock lock(mutex_);
    tasks.swap(posted_);
  }
  for (Task& task : tasks) task();
}

void EventLoop::RunDue() {
  const core::Time now = Now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    Task task = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    task();
  }
}

int EventLoop::NextTimeoutMilliseconds() {
  {
    const core::MutexLock lock(mutex_);
    if (!posted_.empty()) return 0;
  }
  if (timers_.empty()) return -1;
  // Rounded up: waking a fraction of a millisecond early would only spin until it is over.
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first.first - Now());
  return static_cast<int>(std::clamp<int64_t>(wait.count(), 0, 60'000));
}

void EventLoop::Wake() {
  const uint64_t one = 1;
  // Full is as good as written: the loop will wake.
  [[maybe_unused]] const ssize_t put = write(wake_, &one, sizeof(one));
}

}  // namespace pglessor::executor
