// Which pool a name means, and which one it shows, while pools come and go.
#include "server/core/pools.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/fake_clock.h"
#include "tests/support/fake_connector.h"
#include "tests/support/fake_fencing_source.h"
#include "tests/support/manual_executor.h"

namespace pglessor::core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class PoolsTest : public testing::Test {
 protected:
  Pool& Add(const std::string& name) {
    PoolOptions options;
    options.name = name;
    return pools_.Add(std::make_unique<Pool>(options, Pool::Surroundings{clock_, events_}, connector_,
                                             fencing_, [](LeaseCounter) {}));
  }
  Pool* Remove(const std::string& name) {
    Pools::Gone gone = [this](Pool::Stage) { ++told_; };
    return pools_.Remove(name, gone);
  }

  test::FakeClock clock_;
  test::ManualExecutor executor_{clock_};
  test::FakeConnector connector_{executor_};
  test::FakeFencingSource fencing_{executor_};
  Events events_;
  Pools pools_;
  int told_ = 0;
};

TEST_F(PoolsTest, FindsThoseThatLive) {
  Pool& b = Add("b");
  Pool& a = Add("a");
  EXPECT_EQ(pools_.Find("a"), &a);
  EXPECT_EQ(pools_.FindShown("b"), &b);
  EXPECT_EQ(pools_.Find("c"), nullptr);
  EXPECT_THAT(pools_.Living(), ElementsAre(&a, &b));
  EXPECT_THAT(pools_.All(), ElementsAre(&a, &b));
  EXPECT_THAT(pools_.Shown(), ElementsAre(&a, &b));
  EXPECT_THAT(pools_.Leaving(), IsEmpty());
}

TEST_F(PoolsTest, ARemovedOneShowsUntilItIsForgotten) {
  Pool& b = Add("b");
  Pool& a = Add("a");
  EXPECT_EQ(Remove("a"), &a);
  EXPECT_EQ(Remove("a"), nullptr);
  EXPECT_EQ(pools_.Find("a"), nullptr);
  EXPECT_EQ(pools_.FindShown("a"), &a);
  EXPECT_THAT(pools_.Living(), ElementsAre(&b));
  EXPECT_THAT(pools_.Leaving(), ElementsAre(&a));
  EXPECT_THAT(pools_.All(), ElementsAre(&b, &a));
  EXPECT_THAT(pools_.Shown(), ElementsAre(&a, &b));

  Pools::Gone gone = pools_.Forget(a);
  ASSERT_TRUE(gone);
  gone(Pool::Stage::kGone);
  EXPECT_EQ(told_, 1);
  EXPECT_FALSE(pools_.Forget(a)) << "it is told once";
  EXPECT_EQ(pools_.FindShown("a"), nullptr);
  EXPECT_THAT(pools_.Shown(), ElementsAre(&b));
  EXPECT_THAT(pools_.All(), ElementsAre(&b));
}

TEST_F(PoolsTest, ANameShowsTheOneThatLivesElseTheLastThatWasRemoved) {
  Pool& first = Add("a");
  Remove("a");
  Pool& second = Add("a");
  EXPECT_EQ(pools_.FindShown("a"), &second);
  EXPECT_THAT(pools_.Shown(), ElementsAre(&second));
  EXPECT_THAT(pools_.All(), ElementsAre(&second, &first));
  Remove("a");
  EXPECT_EQ(pools_.FindShown("a"), &second);
  EXPECT_THAT(pools_.Shown(), ElementsAre(&second));
  pools_.Forget(second);
  EXPECT_EQ(pools_.FindShown("a"), &first);
}

TEST_F(PoolsTest, OneThatIsForgottenIsKeptForThoseThatHaveIt) {
  Pool& pool = Add("a");
  Remove("a");
  pools_.Forget(pool);
  EXPECT_EQ(pool.name(), "a");
}

using PoolsDeathTest = PoolsTest;

TEST_F(PoolsDeathTest, TwoDoNotLiveUnderOneName) {
  Add("a");
  EXPECT_DEATH(Add("a"), "one pool at most lives under a name");
}

}  // namespace
}  // namespace pglessor::core
