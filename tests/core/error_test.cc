#include "server/core/error.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::FieldsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::Pair;

TEST(Error, KeepsCodeAndMessage) {
  const absl::Status status = MakeError(absl::StatusCode::kAborted, "why", {.reason = "WORD"});
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(status.message(), "why");
}

TEST(Error, CarriesItsWholeDetail) {
  const absl::Status status = MakeError(absl::StatusCode::kResourceExhausted, "why",
                                        {.reason = "WORD",
                                         .metadata = {{"in_use", "3"}, {"max", "4"}},
                                         .retry_after = 1500ms,
                                         .fields = {{"ttl", "positive"}, {"tags", "at most 16"}},
                                         .quotas = {{"tenant:a", "ten leases"}}});
  const auto detail = DetailOf(status);
  ASSERT_TRUE(detail.has_value());
  EXPECT_EQ(detail->reason, "WORD");
  EXPECT_THAT(detail->metadata, ElementsAre(Pair("in_use", "3"), Pair("max", "4")));
  EXPECT_THAT(detail->retry_after, Optional(Duration(1500ms)));
  EXPECT_THAT(detail->fields, ElementsAre(FieldsAre("ttl", "positive"), FieldsAre("tags", "at most 16")));
  EXPECT_THAT(detail->quotas, ElementsAre(FieldsAre("tenant:a", "ten leases")));
}

TEST(Error, CarriesNothingWhereNothingWasGiven) {
  const auto detail = DetailOf(MakeError(absl::StatusCode::kAborted, "why", {.reason = "WORD"}));
  ASSERT_TRUE(detail.has_value());
  EXPECT_THAT(detail->metadata, IsEmpty());
  EXPECT_EQ(detail->retry_after, std::nullopt);
  EXPECT_THAT(detail->fields, IsEmpty());
  EXPECT_THAT(detail->quotas, IsEmpty());
}

TEST(Error, TakesAnyBytesInItsTexts) {
  for (const std::string& text : {std::string(), std::string(":"), std::string("3:abc"),
                                  std::string("\0\xff", 2), std::string(100'000, 'x')}) {
    const auto detail =
        DetailOf(MakeError(absl::StatusCode::kInternal, "why",
                           {.reason = text, .metadata = {{text, text}}, .quotas = {{text, text}}}));
    ASSERT_TRUE(detail.has_value());
    EXPECT_EQ(detail->reason, text);
    EXPECT_THAT(detail->metadata, ElementsAre(Pair(text, text)));
    EXPECT_THAT(detail->quotas, ElementsAre(FieldsAre(text, text)));
  }
}

TEST(Error, TellsRetryNowFromNoRetryTime) {
  const auto detail = DetailOf(
      MakeError(absl::StatusCode::kUnavailable, "why", {.reason = "WORD", .retry_after = Duration::zero()}));
  EXPECT_THAT(detail->retry_after, Optional(Duration::zero()));
}

TEST(Error, SurvivesBeingCopied) {
  const absl::Status status = MakeError(absl::StatusCode::kAborted, "why", {.reason = "WORD"});
  const absl::Status copy = status;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_THAT(copy, test::HasReason("WORD"));
}

TEST(Error, OfOthersHasNoDetail) {
  EXPECT_EQ(DetailOf(absl::OkStatus()), std::nullopt);
  EXPECT_EQ(DetailOf(absl::InternalError("why")), std::nullopt);
}

TEST(Error, OfAFieldNamesItAndWhatWasExpected) {
  const absl::Status status = FieldInvalid("ttl", "must be positive");
  EXPECT_THAT(status, test::StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(status, test::HasReason(reason::kFieldInvalid));
  EXPECT_EQ(test::MetadataOf(status, "field"), "ttl");
  EXPECT_THAT(DetailOf(status)->fields, ElementsAre(FieldsAre("ttl", "must be positive")));
  EXPECT_EQ(status.message(), "ttl: must be positive");
}

}  // namespace
}  // namespace pglessor::core
