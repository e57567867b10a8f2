// Values there and back, and rows as they come.
#include <limits>
#include <string>

#include "tests/client/support/client_fixture.h"

namespace pglessor {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

class ClientRows : public ClientFixture {
 protected:
  template <typename T, typename Param>
  absl::StatusOr<T> Echo(Lease& lease, const std::string& type, const Param& param) {
    const absl::StatusOr<Result> result = lease.Execute("SELECT $1::" + type, param);
    if (!result.ok()) return result.status();
    return result->value<T>();
  }
};

TEST_F(ClientRows, ParametersOfEveryTypeComeBackAsTheyWent) {
  Lease lease = Acquire();
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(Echo<bool>(lease, "bool", true).value(), true);
  EXPECT_EQ(Echo<int64_t>(lease, "int8", kLeast).value(), kLeast);
  EXPECT_EQ(Echo<int32_t>(lease, "int4", -7).value(), -7);
  EXPECT_EQ(Echo<double>(lease, "float8", 0.1).value(), 0.1);
  EXPECT_EQ(Echo<std::string>(lease, "text", "grün").value(), "grün");
  const Bytes every{std::string("\0\x01\xff'\\", 5)};
  EXPECT_EQ(Echo<Bytes>(lease, "bytea", every).value(), every);
  EXPECT_EQ(Echo<std::optional<int>>(lease, "int4", nullptr).value(), std::nullopt);
  EXPECT_EQ(Echo<std::optional<int>>(lease, "int4", std::optional<int>()).value(), std::nullopt);
  EXPECT_EQ(Echo<std::string>(lease, "numeric", std::numeric_limits<uint64_t>::max()).value(),
            "18446744073709551615");
}

TEST_F(ClientRows, AResultTellsAllOfIt) {
  Lease lease = Acquire();
  const absl::StatusOr<Result> made = lease.Execute("CREATE TEMP TABLE fruit (id int8, name text)");
  ASSERT_THAT(made, IsOk());
  EXPECT_EQ(made->command_tag(), "CREATE TABLE");
  const absl::StatusOr<Result> put =
      lease.Execute("INSERT INTO fruit VALUES (1, $1), (2, $2)", "apple", nullptr);
  ASSERT_THAT(put, IsOk());
  EXPECT_EQ(put->rows_affected(), 2);
  const absl::StatusOr<Result> got = lease.Execute("SELECT id, name FROM fruit ORDER BY id");
  ASSERT_THAT(got, IsOk());
  ASSERT_EQ(got->columns().size(), 2U);
  EXPECT_EQ(got->columns()[1].name, "name");
  EXPECT_EQ(got->columns()[0].type_name, "int8");
  EXPECT_EQ(got->columns()[0].type_oid, 20U);
  EXPECT_FALSE(got->in_transaction());
  std::vector<std::string> names;
  for (const Row& row : *got) {
    names.push_back(row.get<std::optional<std::string>>("name").value().value_or("none"));
  }
  EXPECT_THAT(names, ElementsAre("apple", "none"));
}

TEST_F(ClientRows, NoticesComeWithTheResult) {
  Lease lease = Acquire();
  const absl::StatusOr<Result> done = lease.Execute("DO $$ BEGIN RAISE NOTICE 'look here'; END $$");
  ASSERT_THAT(done, IsOk());
  EXPECT_THAT(done->notices(), ElementsAre(HasSubstr("look here")));
}

TEST_F(ClientRows, AStatementWithoutRowsHasNone) {
  Lease lease = Acquire();
  const absl::StatusOr<Result> none = lease.Execute("SELECT 1 WHERE false");
  ASSERT_THAT(none, IsOk());
  EXPECT_TRUE(none->empty());
}

TEST_F(ClientRows, QueryHandsOverEachRowInOrder) {
  Lease lease = Acquire();
  int64_t next = 1;
  const absl::StatusOr<Summary> summary =
      lease.Query(Statement("SELECT generate_series(1, $1::int8)", {5000}), [&](const Row& row) {
        EXPECT_EQ(row.get<int64_t>(0).value(), next);
        ++next;
        return absl::OkStatus();
      });
  ASSERT_THAT(summary, IsOk());
  EXPECT_EQ(next, 5001);
  EXPECT_EQ(summary->rows_returned, 5000);
  EXPECT_EQ(summary->columns[0].name, "generate_series");
}

// The whole answer would be 4 GB: it can only be read to here because it is not made faster than it is read.
TEST_F(ClientRows, QueryReadsNoMoreThanIsTaken) {
  Lease lease = Acquire();
  int seen = 0;
  const absl::StatusOr<Summary> summary = lease.Query(
      Statement("SELECT repeat('x', 4000) FROM generate_series(1, 1000000)"),
      [&](const Row&) { return ++seen < 1000 ? absl::OkStatus() : absl::CancelledError("enough"); });
  EXPECT_EQ(summary.status(), absl::CancelledError("enough"));
  EXPECT_EQ(seen, 1000);
}

TEST_F(ClientRows, AQueryThatWasStoppedLeavesTheLeaseReady) {
  Lease lease = Acquire();
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(lease
                     .Query(Statement("SELECT repeat('x', 4000) FROM generate_series(1, 1000000)"),
                            [](const Row&) { return absl::CancelledError("enough"); })
                     .ok());
    ASSERT_THAT(lease.Execute("SELECT 1"), IsOk()) << "no LEASE_BUSY while the server still cancels";
  }
}

TEST_F(ClientRows, MaxRowsCutsTheAnswer) {
  Lease lease = Acquire();
  Statement statement("SELECT generate_series(1, 10)");
  statement.max_rows = 3;
  const absl::StatusOr<Result> result = lease.Execute(statement);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->size(), 3U);
}

}  // namespace
}  // namespace pglessor
