// The control connection: its return when it is lost, and the fencing blocks that it brings.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/postgres/session_support.h"

namespace pglessor::postgres {
namespace {

using embedded::Eventually;
using Block = core::FencingSource::Block;

// Every block that came, in its order.
class Blocks {
 public:
  explicit Blocks(PostgresEdge& edge) {
    edge.control().Subscribe([taken = taken_](Block block) {
      const std::scoped_lock lock(taken->mutex);
      taken->blocks.push_back(block);
      return true;
    });
  }

  std::vector<Block> All() const {
    const std::scoped_lock lock(taken_->mutex);
    return taken_->blocks;
  }
  bool Reach(size_t count) const {
    return Eventually([&] { return All().size() >= count; }, kPatience);
  }

 private:
  struct Taken {
    std::mutex mutex;
    std::vector<Block> blocks;
  };
  std::shared_ptr<Taken> taken_ = std::make_shared<Taken>();
};

void ExpectRising(const std::vector<Block>& blocks) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_GT(blocks[i].count, 0U);
    if (i == 0) continue;
    EXPECT_GE(blocks[i].first, blocks[i - 1].first + blocks[i - 1].count) << i;
  }
}

using ControlConnectionTest = SessionTest;

TEST_F(ControlConnectionTest, BringsABlockUnaskedAndOneForEachTakeBlock) {
  const Blocks blocks(edge_);
  ASSERT_TRUE(blocks.Reach(1));
  for (size_t i = 2; i <= 10; ++i) {
    edge_.control().TakeBlock();
    ASSERT_TRUE(blocks.Reach(i));
  }
  ExpectRising(blocks.All());
}

TEST_F(ControlConnectionTest, BringsNoMoreToOneThatWantsNone) {
  std::atomic<int> told{0};
  edge_.control().Subscribe([&told](Block) {
    ++told;
    return false;
  });
  const Blocks blocks(edge_);
  for (size_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(blocks.Reach(i));
    edge_.control().TakeBlock();
  }
  ASSERT_TRUE(blocks.Reach(4));
  EXPECT_EQ(told, 1);
}

TEST_F(ControlConnectionTest, OfTwoReplicasBringsEachBlocksOfItsOwn) {
  PostgresEdge other(TheServer());
  const Blocks ours(edge_);
  const Blocks theirs(other);
  for (size_t i = 1; i <= 10; ++i) {
    ASSERT_TRUE(ours.Reach(i));
    ASSERT_TRUE(theirs.Reach(i));
    edge_.control().TakeBlock();
    other.control().TakeBlock();
  }
  std::vector<Block> all = ours.All();
  for (const Block& block : theirs.All()) all.push_back(block);
  std::sort(all.begin(), all.end(), [](const Block& a, const Block& b) { return a.first < b.first; });
  ExpectRising(all);
}

TEST_F(ControlConnectionTest, ComesBackWhenItIsKilledAndBringsAHigherBlock) {
  const Blocks blocks(edge_);
  ASSERT_TRUE(blocks.Reach(1));
  for (size_t round = 2; round <= 6; ++round) {
    const int32_t pid = observer_.ControlPid();
    ASSERT_NE(pid, 0);
    observer_.Query(absl::StrCat("SELECT pg_terminate_backend(", pid, ")"));
    ASSERT_TRUE(blocks.Reach(round));
    EXPECT_TRUE(
        Eventually([&] { return observer_.ControlPid() != 0 && observer_.ControlPid() != pid; }, kPatience));
  }
  ExpectRising(blocks.All());
}

TEST_F(ControlConnectionTest, DoesWhatItWasAskedWhileItWasAwayOnceItIsBack) {
  LeasedSession session(edge_);
  for (int i = 0; i < 5; ++i) {
    observer_.Query(absl::StrCat("SELECT pg_terminate_backend(", observer_.ControlPid(), ")"));
    const core::StatementKey key = session.NextKey();
    const auto sink = session.Start(key, Sql("SELECT pg_sleep(600)"));
    session.connection().Cancel(key);
    ASSERT_TRUE(Ended(sink));
    EXPECT_FALSE(sink->end().error.ok());
  }
  const auto closing = session.Close();
  EXPECT_TRUE(Eventually([&] { return closing->gone == 1; }, kPatience));
}

TEST_F(ControlConnectionTest, EndsForGoodWhenItIsStopped) {
  const Blocks blocks(edge_);
  ASSERT_TRUE(blocks.Reach(1));
  // Stopped while it is about to be opened again, it is not.
  observer_.Query(absl::StrCat("SELECT pg_terminate_backend(", observer_.ControlPid(), ")"));
  edge_.control().Stop();
  edge_.control().TakeBlock();
  EXPECT_TRUE(Eventually([&] { return observer_.ControlPid() == 0; }, kPatience));
  // As often as it would have been tried.
  test::Answer<bool> later;
  edge_.loop().Post([&] {
    edge_.loop().RunAfter(std::chrono::milliseconds(300), [answer = later.Callback()] { answer(true); });
  });
  EXPECT_TRUE(Eventually([&] { return later.here(); }, kPatience));
  EXPECT_EQ(observer_.ControlPid(), 0);
}

TEST_F(ControlConnectionTest, LeavesALaterBackendWithTheSamePidAlone) {
  LeasedSession session(edge_);
  const std::string identity = observer_.Identity(session.pid());
  test::Answer<absl::Status> cancelled;
  test::Answer<bool> gone;
  edge_.loop().Post([&] {
    const BackendIdentity earlier{session.pid(), 1};
    edge_.control().Cancel(earlier, cancelled.Callback());
    edge_.control().AwaitGone(earlier, ControlConnection::Means::kTerminate,
                              [answer = gone.Callback()] { answer(true); });
  });
  ASSERT_TRUE(Eventually([&] { return cancelled.here() && gone.here(); }, kPatience));
  EXPECT_TRUE(cancelled->ok());
  EXPECT_EQ(session.Value("SELECT 1"), "1");
  EXPECT_TRUE(observer_.Sees(identity));
}

// --- a server that dies and comes back -----------------------------------------------------------

TEST(RestartedServerTest, BlocksRiseAcrossImmediateRestartsAndSessionsAreLost) {
  const embedded::OwnTmpdir tmpdir;
  const EmbeddedOptions options = {.directory = (tmpdir.path() / "kept").string()};
  auto server = *EmbeddedServer::Start(options);
  PostgresEdge edge(*server);
  const Blocks blocks(edge);
  size_t count = 1;
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(blocks.Reach(count));
    for (int i = 0; i < 10; ++i) {
      edge.control().TakeBlock();
      ASSERT_TRUE(blocks.Reach(++count));
    }
    LeasedSession session(edge);
    const auto sink = session.Start("SELECT pg_sleep(600)");

    // What the last block's transaction wrote may be in no data file yet.
    ASSERT_EQ(kill(server->postmaster_pid(), SIGQUIT), 0);

    ASSERT_TRUE(Ended(sink));
    EXPECT_EQ(sink->end().how, core::StatementEnd::How::kConnectionLost);
    EXPECT_EQ(session.losses(), 1);
    const auto closing = session.Close();
    server.reset();
    EXPECT_EQ(closing->gone, 0) << "nobody can know yet";
    auto again = EmbeddedServer::Start(options);
    ASSERT_TRUE(again.ok()) << again.status();
    server = *std::move(again);
    EXPECT_TRUE(Eventually([&] { return closing->gone == 1; }, kPatience));
    ASSERT_TRUE(blocks.Reach(++count));
  }
  ExpectRising(blocks.All());
}

}  // namespace
}  // namespace pglessor::postgres
