#include "pglessor/row.h"

#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "pglessor/result.h"

namespace pglessor {
namespace {

using testing::HasSubstr;

Row::Columns Columns() {
  return std::make_shared<std::vector<Column>>(std::vector<Column>{
      {"id", 20, "int8"}, {"name", 25, "text"}, {"note", 25, "text"}, {"name", 25, "text"}});
}

Row Fruit() { return {Columns(), {7, "apple", nullptr, "second"}}; }

Result ResultOf(std::vector<Row> rows) { return {Summary{.columns = *Columns()}, std::move(rows)}; }

TEST(Row, GivesValuesByIndexAndByName) {
  const Row row = Fruit();
  EXPECT_EQ(row.get<int64_t>(0).value(), 7);
  EXPECT_EQ(row.get<int>("id").value(), 7);
  EXPECT_EQ(row.get<std::string>(1).value(), "apple");
  EXPECT_EQ(row.get<std::optional<std::string>>("note").value(), std::nullopt);
}

TEST(Row, ANameThatCameTwiceMeansTheFirst) { EXPECT_EQ(Fruit().get<std::string>("name").value(), "apple"); }

TEST(Row, AMissingColumnIsAnError) {
  EXPECT_EQ(Fruit().get<int>(4).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Fruit().get<int>("price").status().code(), absl::StatusCode::kNotFound);
}

TEST(Row, AnErrorNamesTheColumn) {
  const absl::Status status = Fruit().get<int64_t>("note").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("column 2 (note): the value is NULL"));
}

TEST(Row, ComesApartAsATuple) {
  const auto all = Fruit().as<int64_t, std::string, std::optional<std::string>, std::string>();
  ASSERT_TRUE(all.ok()) << all.status();
  const auto& [id, name, note, again] = *all;
  EXPECT_EQ(id, 7);
  EXPECT_EQ(name, "apple");
  EXPECT_EQ(note, std::nullopt);
  EXPECT_EQ(again, "second");
}

TEST(Row, ATupleNeedsEveryTypeToBeRight) {
  EXPECT_TRUE(
      absl::IsInvalidArgument((Fruit().as<int64_t, std::string, std::string, std::string>().status())));
  EXPECT_TRUE(absl::IsInvalidArgument((Fruit().as<int64_t, std::string>().status())));
}

TEST(Row, OutlivesItsResult) {
  std::optional<Result> result = ResultOf({Fruit()});
  const Row row = *result->begin();
  result.reset();
  EXPECT_EQ(row.get<int64_t>("id").value(), 7);
}

TEST(Result, IsARange) {
  const Result result = ResultOf({Fruit(), Fruit()});
  int64_t sum = 0;
  for (const Row& row : result) sum += *row.get<int64_t>(0);
  EXPECT_EQ(sum, 14);
  EXPECT_EQ(result.size(), 2U);
}

TEST(Result, GivesItsOneValue) {
  const auto columns = std::make_shared<std::vector<Column>>(std::vector<Column>{{"count", 20, "int8"}});
  EXPECT_EQ(Result({}, {Row(columns, {3})}).value<int64_t>().value(), 3);
  EXPECT_TRUE(absl::IsInvalidArgument(Result({}, {}).value<int64_t>().status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ResultOf({Fruit()}).value<int64_t>().status()));
}

}  // namespace
}  // namespace pglessor
