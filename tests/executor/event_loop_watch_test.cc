// Sockets on the event loop.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "gtest/gtest.h"

#include "server/executor/event_loop.h"
#include "tests/executor/loop_thread.h"

namespace pglessor::executor {
namespace {

// Two ends of a connection.
class SocketPair {
 public:
  SocketPair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_.data()), 0); }
  ~SocketPair() {
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }
  SocketPair(const SocketPair&) = delete;
  SocketPair& operator=(const SocketPair&) = delete;

  int ours() const { return ends_[0]; }
  void Send() const { EXPECT_EQ(write(ends_[1], "x", 1), 1); }
  void Read() const {
    char byte = 0;
    EXPECT_EQ(read(ends_[0], &byte, 1), 1);
  }
  void CloseTheirs() {
    close(ends_[1]);
    ends_[1] = -1;
  }

 private:
  std::array<int, 2> ends_{};
};

TEST(EventLoopWatch, WaitsForNothingAtFirst) {
  LoopThread thread;
  const SocketPair sockets;
  sockets.Send();
  std::unique_ptr<EventLoop::Watch> watch;
  int calls = 0;
  thread.Do([&] { watch = thread.loop().WatchSocket(sockets.ours(), [&](bool, bool) { ++calls; }); });
  thread.Do([] {});
  thread.Do([&] {
    EXPECT_EQ(calls, 0);
    watch.reset();
  });
}

TEST(EventLoopWatch, TellsWhatIsReadyAndWanted) {
  LoopThread thread;
  const SocketPair sockets;
  std::unique_ptr<EventLoop::Watch> watch;
  Happening readable;
  Happening writable;
  thread.Do([&] {
    watch = thread.loop().WatchSocket(sockets.ours(), [&](bool read, bool write) {
      watch->Want(false, false);
      if (read && !write) readable.Happened();
      if (write && !read) writable.Happened();
    });
    watch->Want(true, false);
  });
  sockets.Send();
  ASSERT_TRUE(readable.Came());
  thread.Do([&] { watch->Want(false, true); });
  EXPECT_TRUE(writable.Came());
  thread.Do([&] { watch.reset(); });
}

TEST(EventLoopWatch, IsLevelTriggered) {
  LoopThread thread;
  const SocketPair sockets;
  std::unique_ptr<EventLoop::Watch> watch;
  int calls = 0;
  Happening thrice;
  thread.Do([&] {
    watch = thread.loop().WatchSocket(sockets.ours(), [&](bool, bool) {
      if (++calls < 3) return;  // leaves it unread
      watch->Want(false, false);
      thrice.Happened();
    });
    watch->Want(true, false);
  });
  sockets.Send();
  EXPECT_TRUE(thrice.Came());
  thread.Do([&] { watch.reset(); });
}

TEST(EventLoopWatch, TellsAHangUpEvenWhereNothingIsWanted) {
  LoopThread thread;
  SocketPair sockets;
  std::unique_ptr<EventLoop::Watch> watch;
  Happening both;
  thread.Do([&] {
    watch = thread.loop().WatchSocket(sockets.ours(), [&](bool read, bool write) {
      watch.reset();
      if (read && write) both.Happened();
    });
  });
  sockets.CloseTheirs();
  EXPECT_TRUE(both.Came());
}

TEST(EventLoopWatch, MayBeEndedInsideItsOwnCallback) {
  LoopThread thread;
  const SocketPair sockets;
  std::unique_ptr<EventLoop::Watch> watch;
  const auto held = std::make_shared<int>(1);  // by the callback, which must survive its own end
  Happening ended;
  thread.Do([&] {
    watch = thread.loop().WatchSocket(sockets.ours(), [&, held](bool, bool) {
      watch.reset();
      EXPECT_EQ(*held, 1);
      ended.Happened();
    });
    watch->Want(true, false);
  });
  sockets.Send();
  ASSERT_TRUE(ended.Came());
  thread.Do([] {});
  EXPECT_EQ(held.use_count(), 1);
}

TEST(EventLoopWatch, IsNotCalledOnceAnotherOfTheSameRoundHasEndedIt) {
  for (int round = 0; round < 20; ++round) {
    LoopThread thread;
    const std::array<SocketPair, 2> sockets;
    std::array<std::unique_ptr<EventLoop::Watch>, 2> watches;
    int calls = 0;
    Happening first;
    thread.Do([&] {
      for (size_t i = 0; i < 2; ++i) {
        watches[i] = thread.loop().WatchSocket(sockets[i].ours(), [&](bool, bool) {
          if (++calls == 1) first.Happened();
          for (auto& watch : watches) watch.reset();
        });
        watches[i]->Want(true, false);
        sockets[i].Send();  // both are ready when the loop looks next
      }
    });
    ASSERT_TRUE(first.Came());
    thread.Do([] {});
    EXPECT_EQ(calls, 1);
  }
}

TEST(EventLoopWatch, OfADescriptorThatIsUsedAgainHearsNothingOfTheOldOne) {
  LoopThread thread;
  SocketPair other;
  auto old = std::make_unique<SocketPair>();
  std::array<std::unique_ptr<EventLoop::Watch>, 2> watches;
  std::unique_ptr<SocketPair> replacement;
  std::unique_ptr<EventLoop::Watch> new_watch;
  int calls = 0;
  Happening first;
  thread.Do([&] {
    // Whichever comes first ends the other, and a new socket takes its descriptor in the same round.
    const auto replace = [&](bool, bool) {
      for (auto& watch : watches) watch.reset();
      if (replacement != nullptr) return;
      const int descriptor = old->ours();
      old.reset();
      replacement = std::make_unique<SocketPair>();
      EXPECT_EQ(replacement->ours(), descriptor);
      new_watch = thread.loop().WatchSocket(replacement->ours(), [&](bool, bool) { ++calls; });
      new_watch->Want(true, false);
      first.Happened();
    };
    watches[0] = thread.loop().WatchSocket(other.ours(), replace);
    watches[1] = thread.loop().WatchSocket(old->ours(), replace);
    for (auto& watch : watches) watch->Want(true, false);
    other.Send();
    old->Send();
  });
  ASSERT_TRUE(first.Came());
  thread.Do([] {});
  thread.Do([&] {
    EXPECT_EQ(calls, 0);
    new_watch.reset();
  });
}

TEST(EventLoopWatch, LetsTasksRunWhileASocketIsAlwaysReady) {
  LoopThread thread;
  const SocketPair sockets;
  sockets.Send();
  std::unique_ptr<EventLoop::Watch> watch;
  Happening timer;
  thread.Do([&] {
    watch = thread.loop().WatchSocket(sockets.ours(), [](bool, bool) {});
    watch->Want(true, true);
    thread.loop().RunAfter(std::chrono::milliseconds(1), [&] { timer.Happened(); });
  });
  EXPECT_TRUE(timer.Came());
  thread.Do([&] { watch.reset(); });
}

}  // namespace
}  // namespace pglessor::executor
