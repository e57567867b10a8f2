#include "server/core/fencing_tokens.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace pglessor::core {
namespace {

constexpr uint64_t kBlock = 1 << 20;

TEST(FencingTokens, AreEmptyUntilABlockHasCome) {
  FencingTokens tokens;
  EXPECT_TRUE(tokens.empty());
  tokens.Add({kBlock, kBlock});
  EXPECT_FALSE(tokens.empty());
}

TEST(FencingTokens, CountThroughABlock) {
  FencingTokens tokens;
  tokens.Add({100, 3});
  EXPECT_EQ(tokens.Next().value, 100U);
  EXPECT_EQ(tokens.Next().value, 101U);
  EXPECT_EQ(tokens.Next().value, 102U);
  EXPECT_TRUE(tokens.empty());
}

TEST(FencingTokens, UseANewBlockFromTheMomentItIsHere) {
  FencingTokens tokens;
  tokens.Add({100, 10});
  tokens.Next();
  tokens.Add({200, 10});
  EXPECT_EQ(tokens.Next().value, 200U);
}

TEST(FencingTokens, RefuseABlockThatIsNotAboveAllOthers) {
  FencingTokens tokens;
  tokens.Add({100, 10});
  EXPECT_EQ(tokens.Next().value, 100U);
  for (const FencingSource::Block block : {FencingSource::Block{100, 10}, {50, 10}, {109, 10}, {0, 1000}}) {
    tokens.Add(block);
    EXPECT_TRUE(tokens.ShouldAsk()) << "for a better one than " << block.first;
  }
  EXPECT_EQ(tokens.Next().value, 101U);
  tokens.Add({110, 10});
  EXPECT_EQ(tokens.Next().value, 110U);
}

TEST(FencingTokens, AskForABetterBlockHoweverManyAreLeft) {
  FencingTokens tokens;
  tokens.Add({2 * kBlock, kBlock});
  tokens.Add({kBlock, kBlock});
  EXPECT_TRUE(tokens.ShouldAsk());
  EXPECT_FALSE(tokens.ShouldAsk()) << "one is on its way";
  tokens.Add({3 * kBlock, kBlock});
  EXPECT_FALSE(tokens.ShouldAsk());
}

TEST(FencingTokens, DoNotAskForTheFirstBlock) {
  FencingTokens tokens;
  EXPECT_FALSE(tokens.ShouldAsk());
}

TEST(FencingTokens, DoNotAskWhileTheBlockLasts) {
  FencingTokens tokens;
  tokens.Add({kBlock, kBlock});
  EXPECT_FALSE(tokens.ShouldAsk());
}

TEST(FencingTokens, AskOnceBeforeTheLastHasGone) {
  FencingTokens tokens;
  tokens.Add({kBlock, kBlock});
  bool asked = false;
  while (!asked && !tokens.empty()) {
    tokens.Next();
    asked = tokens.ShouldAsk();
  }
  EXPECT_TRUE(asked);
  EXPECT_FALSE(tokens.empty());
  EXPECT_FALSE(tokens.ShouldAsk()) << "one is on its way";
}

TEST(FencingTokens, AskAgainOfTheNextBlock) {
  FencingTokens tokens;
  tokens.Add({100, 1});
  EXPECT_TRUE(tokens.ShouldAsk());
  tokens.Add({200, 1});
  EXPECT_TRUE(tokens.ShouldAsk());
}

TEST(FencingTokensDeathTest, DieRatherThanInventOne) {
  FencingTokens tokens;
  EXPECT_DEATH(tokens.Next(), "fencing token");
}

}  // namespace
}  // namespace pglessor::core
