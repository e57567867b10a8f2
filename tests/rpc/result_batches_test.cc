// A statement's rows as messages, which are used again once they are written.
#include "server/rpc/result_batches.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/error.h"
#include "tests/support/status_matchers.h"

namespace pglessor::rpc {
namespace {

using testing::ElementsAre;

constexpr uint32_t kInt8Oid = 20;
constexpr uint32_t kTextOid = 25;

class ResultBatchesTest : public testing::Test {
 protected:
  void Add(core::Row row) {
    ASSERT_THAT(batches_.AddRow(row, [this](v1::ExecuteResponse&& part) { Write(std::move(part)); }),
                test::IsOk());
  }
  void End() {
    ASSERT_THAT(batches_.End({}, [this](v1::ExecuteResponse&& part) { Write(std::move(part)); }),
                test::IsOk());
  }
  std::vector<std::string> written_;

  ResultBatches batches_{/*batch_rows=*/2};

 private:
  // What a reader sees of it; and it is given back, as whoever has written it does.
  void Write(v1::ExecuteResponse&& part) {
    if (part.has_header()) written_.push_back("header");
    if (part.has_summary()) written_.push_back("summary");
    std::string rows;
    for (const v1::Row& row : part.rows().rows()) {
      for (const v1::Value& value : row.values()) {
        rows += value.has_int_value() ? std::to_string(value.int_value()) : "";
        rows += value.has_text_value() ? value.text_value() : "";
        rows += value.has_null_value() ? "null" : "";
        rows += ' ';
      }
      rows += '/';
    }
    if (part.has_rows()) written_.push_back(rows);
    batches_.TakeBack(std::move(part));
  }
};

TEST_F(ResultBatchesTest, BatchesThatWereWrittenLeaveNothingInThoseThatFollow) {
  batches_.AddColumns({{"n", kInt8Oid, "int8"}, {"t", kTextOid, "text"}});
  Add(std::vector<core::Field>{"1", "one"});
  Add(std::vector<core::Field>{"2", "two"});
  Add(std::vector<core::Field>{std::nullopt, "three"});
  Add(std::vector<core::Field>{"4", std::nullopt});
  Add(std::vector<core::Field>{"5", "five"});
  End();
  EXPECT_THAT(written_,
              ElementsAre("header", "1 one /2 two /", "null three /4 null /", "5 five /", "summary"));
}

// Its row comes before its end, which alone says what became of it.
TEST_F(ResultBatchesTest, ARowThatIsTooLargeIsToldWithWhatBecameOfTheStatement) {
  using How = core::StatementEnd::How;
  const std::string large(5'000'000, 'x');
  const auto end = [&](How how, absl::Status error) {
    ResultBatches batches(/*batch_rows=*/0);
    batches.AddColumns({{"t", kTextOid, "text"}});
    const auto ignore = [](v1::ExecuteResponse&&) {};
    EXPECT_THAT(batches.AddRow(std::vector<core::Field>{large}, ignore), test::HasReason("TOO_LARGE"));
    core::StatementEnd told;
    told.how = how;
    told.error = std::move(error);
    return *core::DetailOf(batches.End(told, ignore));
  };
  const auto of = [](const core::ErrorDetail& detail) {
    return detail.reason + (detail.metadata.empty() ? "" : " " + detail.metadata[0].second);
  };
  EXPECT_EQ(of(end(How::kDone, {})), "TOO_LARGE true");
  EXPECT_EQ(of(end(How::kFailed, absl::CancelledError("57014"))), "TOO_LARGE false");
  const absl::Status unknown =
      core::MakeError(absl::StatusCode::kUnknown, "who knows", {.reason = "COMMIT_OUTCOME_UNKNOWN"});
  EXPECT_EQ(of(end(How::kConnectionLost, unknown)), "COMMIT_OUTCOME_UNKNOWN");
  EXPECT_EQ(of(end(How::kFenced, unknown)), "COMMIT_OUTCOME_UNKNOWN");
}

TEST_F(ResultBatchesTest, AStatementWithoutRowsHasNone) {
  batches_.AddColumns({{"n", kInt8Oid, "int8"}});
  End();
  EXPECT_THAT(written_, ElementsAre("header", "summary"));
}

}  // namespace
}  // namespace pglessor::rpc
