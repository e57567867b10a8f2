// The event loop: one thread that waits for sockets, times and posted tasks, and runs them one by one.
//
// All of PostgreSQL is driven from it, so being on the loop *is* a connection's strand.
//
// Threads: Post, PostAt, Run (on the thread that becomes the loop's) and Stop from any; everything else on
//   the loop's thread only, or before Run.
// Time: the given clock's; a timer runs at most a millisecond late, plus what runs before it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/core/clock.h"
#include "server/core/executor.h"
#include "server/core/mutex.h"

namespace pglessor::executor {

class EventLoop : public core::Executor {
 public:
  // A socket that is waited for, until this is destroyed. Owned by whoever owns the socket; destroy it
  // before the socket is closed.
  class Watch {
   public:
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    // Which events are wanted from now on (level-triggered). An error or a hang-up always is.
    void Want(bool read, bool write);

   private:
    friend class EventLoop;
    Watch(EventLoop& loop, int fd, uint64_t id) : loop_(loop), fd_(fd), id_(id) {}

    EventLoop& loop_;
    const int fd_;
    const uint64_t id_;
    uint32_t wanted_ = 0;
  };
  // Called with what is ready; after an error or a hang-up both are true.
  using OnReady = std::function<void(bool readable, bool writable)>;

  // Names a timer: (when, which).
  using TimerId = std::pair<core::Time, uint64_t>;

  explicit EventLoop(const core::Clock& clock);
  ~EventLoop() override;
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void Post(Task task) override;
  void PostAt(core::Time at, Task task) override;

  // Waits for nothing at first.
  std::unique_ptr<Watch> WatchSocket(int fd, OnReady ready);
  TimerId RunAt(core::Time at, Task task);
  TimerId RunAfter(core::Duration span, Task task);
  // Nothing if it has run or was cancelled.
  void Cancel(TimerId timer);
  core::Time Now() const { return clock_.Now(); }

  // Runs until Stop. What is posted and not yet run then is dropped.
  void Run();
  void Stop();

 private:
  void RunPosted();
  void RunDue();
  int NextTimeoutMilliseconds();
  void Wake();

  const core::Clock& clock_;
  const int epoll_;
  const int wake_;  // an eventfd

  // The loop's thread's own.
  std::unordered_map<uint64_t, OnReady> watches_;
  uint64_t last_id_ = 0;
  std::map<TimerId, Task> timers_;

  core::Mutex mutex_;
  std::vector<Task> posted_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace pglessor::executor
