// An event loop on a thread of its own, with the real clock, and how a test talks to it.
#pragma once

#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "gtest/gtest.h"

#include "server/executor/boot_clock.h"
#include "server/executor/event_loop.h"

namespace pglessor::executor {

// Far more than anything here takes, even on a loaded machine.
inline constexpr std::chrono::seconds kPatience(20);

class LoopThread {
 public:
  LoopThread() : thread_([this] { loop_.Run(); }) {}
  ~LoopThread() { Stop(); }
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  void Stop() {
    if (!thread_.joinable()) return;
    loop_.Stop();
    thread_.join();
  }

  EventLoop& loop() { return loop_; }
  const BootClock& clock() const { return clock_; }
  std::thread::id id() const { return thread_.get_id(); }

  // Runs `step` on the loop and waits for it.
  template <typename Step>
  void Do(Step step) {
    std::promise<void> done;
    loop_.Post([&] {
      step();
      done.set_value();
    });
    done.get_future().wait();
  }

 private:
  BootClock clock_;
  EventLoop loop_{clock_};
  std::thread thread_;
};

// Something that happens once, on any thread.
class Happening {
 public:
  void Happened() { promise_.set_value(); }
  bool Came() { return future_.wait_for(kPatience) == std::future_status::ready; }
  bool CameAlready() { return future_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

 private:
  std::promise<void> promise_;
  std::future<void> future_ = promise_.get_future();
};

}  // namespace pglessor::executor
