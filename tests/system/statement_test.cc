// What Execute gives back: values of every kind, in batches, no faster than they are read.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/background.h"
#include "tests/system/support/memory.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Le;

class StatementTest : public SystemTest {
 protected:
  void SetUp() override {
    Serve(1, 1);
    held_ = SystemTest::Acquire();
  }

  Result Execute(const std::string& sql, const std::vector<v1::Value>& params = {}) {
    return client().Execute(held_.token, sql, params);
  }
  v1::ExecuteRequest Request(const std::string& sql) { return Statement(held_.token, sql); }

  Held held_;
};

TEST_F(StatementTest, ParametersOfEveryKindComeBackAsTheyWent) {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::string every_byte = [] {
    std::string bytes;
    for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
    return bytes;
  }();
  const std::pair<const char*, v1::Value> cases[] = {
      {"bool", Bool(true)},
      {"bool", Bool(false)},
      {"int8", Int(0)},
      {"int8", Int(kLeast)},
      {"int8", Int(kMost)},
      {"int4", Int(std::numeric_limits<int32_t>::min())},
      {"int2", Int(-32'768)},
      {"float8", Double(0.1)},
      {"float8", Double(-0.0)},
      {"float8", Double(kInfinity)},
      {"float8", Double(-kInfinity)},
      {"float8", Double(std::numeric_limits<double>::max())},
      {"float8", Double(std::numeric_limits<double>::min())},
      {"text", Text("")},
      {"text", Text("it's 7 o\"clock\\n\n\té\u202e\U0001F418")},
      {"bytea", Bytes("")},
      {"bytea", Bytes(every_byte)},
  };
  for (const auto& [type, value] : cases) {
    SCOPED_TRACE(absl::StrCat(type, " ", value.ShortDebugString()));
    EXPECT_EQ(Execute(absl::StrCat("SELECT $1::", type), {value}).Value(), value.ShortDebugString());
    EXPECT_EQ(Execute(absl::StrCat("SELECT $1::", type), {Null()}).Value(), "null_value: NULL_VALUE");
  }
  const Result nan = Execute("SELECT $1::float8", {Double(std::nan(""))});
  ASSERT_THAT(nan, IsOk());
  EXPECT_TRUE(std::isnan(nan.rows[0].values(0).double_value()));
}

TEST_F(StatementTest, TheTypeOfAParameterIsPostgresqlsToInfer) {
  database().MakeTable("kinds", "n numeric, at timestamptz, flag bool, doc jsonb");
  EXPECT_THAT(Execute("INSERT INTO kinds VALUES ($1, $2, $3, $4)",
                      {Int(7), Text("2026-01-02 03:04:05+00"), Text("on"), Text("{\"a\": 1}")}),
              IsOk());
  EXPECT_EQ(
      Execute("SELECT count(*) FROM kinds WHERE n = $1 AND doc->>'a' = $2", {Double(7), Text("1")}).Value(),
      "int_value: 1");
}

TEST_F(StatementTest, EachTypeHasItsKindOfValue) {
  struct Case {
    const char* expression;
    const char* value;
    const char* type;
  };
  const Case cases[] = {
      {"7::int2", "int_value: 7", "int2"},
      {"7::int4", "int_value: 7", "int4"},
      {"7::int8", "int_value: 7", "int8"},
      {"0.5::float4", "double_value: 0.5", "float4"},
      {"0.5::float8", "double_value: 0.5", "float8"},
      {"true", "bool_value: true", "bool"},
      {"'\\x00ff'::bytea", "bytes_value: \"\\000\\377\"", "bytea"},
      {"'t'::text", "text_value: \"t\"", "text"},
      {"123456789012345678901234567890.50::numeric", "text_value: \"123456789012345678901234567890.50\"",
       "numeric"},
      {"'2026-01-02'::date", "text_value: \"2026-01-02\"", "date"},
      {"'2026-01-02 03:04:05'::timestamp", "text_value: \"2026-01-02 03:04:05\"", "timestamp"},
      {"'6f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001'::uuid", "text_value: \"6f1c0e52-9f0a-4b1e-8b53-2f4a4c1de001\"",
       "uuid"},
      {"'{\"a\": 1}'::jsonb", "text_value: \"{\\\"a\\\": 1}\"", "jsonb"},
      {"ARRAY[1, NULL]", "text_value: \"{1,NULL}\"", "int4[]"},
      {"NULL::int4", "null_value: NULL_VALUE", "int4"},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.expression);
    const Result result = Execute(absl::StrCat("SELECT ", each.expression, " AS it"));
    EXPECT_EQ(result.Value(), each.value);
    ASSERT_EQ(result.header.columns_size(), 1);
    EXPECT_EQ(result.header.columns(0).name(), "it");
    EXPECT_EQ(result.header.columns(0).type_name(), each.type);
    EXPECT_GT(result.header.columns(0).type_oid(), 0U);
  }
}

TEST_F(StatementTest, BytesComeWholeWhateverTheirTextFormatIsSetTo) {
  ASSERT_THAT(Execute("SET bytea_output = 'escape'"), IsOk());
  EXPECT_EQ(Execute("SELECT '\\x005c27ff'::bytea").Value(),
            Bytes(std::string("\0\\'\xff", 4)).ShortDebugString());
}

TEST_F(StatementTest, TheSummarySaysWhatWasDone) {
  database().MakeTable("counted", "n int");
  const Result inserted = Execute("INSERT INTO counted SELECT generate_series(1, 5)");
  EXPECT_EQ(inserted.summary.command_tag(), "INSERT 0 5");
  EXPECT_EQ(inserted.summary.rows_affected(), 5);
  EXPECT_EQ(inserted.summary.rows_returned(), 0);
  EXPECT_EQ(inserted.header.columns_size(), 0);
  const Result returned = Execute("UPDATE counted SET n = 0 WHERE n > 3 RETURNING n");
  EXPECT_EQ(returned.summary.command_tag(), "UPDATE 2");
  EXPECT_EQ(returned.summary.rows_affected(), 2);
  EXPECT_EQ(returned.summary.rows_returned(), 2);
  const Result slept = Execute("SELECT pg_sleep(0.05)");
  EXPECT_GE(Nanoseconds(slept.summary.elapsed()), milliseconds(50));
}

TEST_F(StatementTest, NoRowsStillHaveTheirColumns) {
  const Result none = Execute("SELECT 1 AS a, 'x' AS b WHERE false");
  ASSERT_THAT(none, IsOk());
  EXPECT_EQ(none.header.columns_size(), 2);
  EXPECT_THAT(none.batches, IsEmpty());
  EXPECT_EQ(none.summary.command_tag(), "SELECT 0");
}

TEST_F(StatementTest, EmptySqlIsOk) {
  for (const char* sql : {"", "  \n", ";", "-- nothing but this", "/* nor /* nested */ this */"}) {
    const Result result = Execute(sql);
    EXPECT_THAT(result, IsOk()) << sql;
    EXPECT_EQ(result.header.columns_size(), 0) << sql;
    EXPECT_EQ(result.summary.command_tag(), "") << sql;
  }
}

TEST_F(StatementTest, NoticesComeWithTheSummary) {
  const Result result = Execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$");
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(result.summary.notices(), ElementsAre("first", "second"));
  EXPECT_THAT(Execute("SELECT 1").summary.notices(), IsEmpty());
}

TEST_F(StatementTest, NoticesAreBounded) {
  const Result result = Execute("DO $$ BEGIN FOR i IN 1..5000 LOOP RAISE NOTICE 'again'; END LOOP; END $$");
  ASSERT_THAT(result, IsOk());
  EXPECT_GT(result.summary.notices_size(), 0);
  EXPECT_LE(result.summary.notices_size(), 1000);
}

TEST_F(StatementTest, RowsComeInBatches) {
  const std::string series = "SELECT generate_series(1, 1000)";
  EXPECT_THAT(Execute(series).batches, ElementsAre(256, 256, 256, 232));
  v1::ExecuteRequest request = Request(series);
  request.set_batch_rows(400);
  EXPECT_THAT(client().Execute(request).batches, ElementsAre(400, 400, 200));
  request.set_batch_rows(1);
  EXPECT_THAT(client().Execute(request).batches, Each(1));
  request.set_batch_rows(std::numeric_limits<int32_t>::max());
  EXPECT_THAT(client().Execute(request).batches, ElementsAre(1000));
}

TEST_F(StatementTest, ABatchIsCutAtOneMebibyte) {
  const Result wide = Execute("SELECT repeat('x', 300000) FROM generate_series(1, 10)");
  ASSERT_THAT(wide, IsOk());
  EXPECT_EQ(wide.rows.size(), 10U);
  EXPECT_THAT(wide.batches, Each(Le(3)));
}

// However little a row holds: a caller's gRPC takes messages of 4 MiB unless told otherwise.
TEST_F(StatementTest, ABatchOfTheSmallestRowsIsCutToo) {
  constexpr size_t kRows = 100'000;
  for (const char* row : {"SELECT NULL", "SELECT ''", "SELECT 1", "SELECT"}) {
    v1::ExecuteRequest request = Request(absl::StrCat(row, " FROM generate_series(1, ", kRows, ")"));
    request.set_batch_rows(std::numeric_limits<int32_t>::max());
    const Result result = client().Execute(request);
    EXPECT_THAT(result, IsOk()) << row;
    EXPECT_EQ(result.rows.size(), kRows) << row;
    // A mebibyte of rows at no less than 16 bytes each.
    EXPECT_THAT(result.batches, Each(Le(65'536))) << row;
  }
}

TEST_F(StatementTest, MaxRowsCutsTheRest) {
  v1::ExecuteRequest request = Request("SELECT generate_series(1, 1000)");
  request.set_max_rows(10);
  const Result cut = client().Execute(request);
  ASSERT_THAT(cut, IsOk());
  EXPECT_EQ(cut.rows.size(), 10U);
  EXPECT_EQ(cut.summary.rows_returned(), 10);
  EXPECT_EQ(cut.rows.back().values(0).int_value(), 10);
  request.set_max_rows(1000);
  EXPECT_EQ(client().Execute(request).rows.size(), 1000U);
}

TEST_F(StatementTest, AsManyParametersAsPostgresqlTakes) {
  constexpr int kMost = 65'535;
  std::vector<std::string> placeholders;
  for (int i = 1; i <= kMost; ++i) placeholders.push_back(absl::StrCat("$", i));
  placeholders[0] += "::int8";
  const std::string sql = absl::StrCat("SELECT cardinality(ARRAY[", absl::StrJoin(placeholders, ","), "])");
  const std::vector<v1::Value> params(kMost, Int(7));
  EXPECT_EQ(Execute(sql, params).Value(), absl::StrCat("int_value: ", kMost));
}

TEST_F(StatementTest, AShortAnswerIsNotHeldBack) {
  // The shortest of many: a slow machine delays some, and only a defect all.
  milliseconds shortest = milliseconds::max();
  for (int i = 0; i < 20; ++i) {
    const auto began = std::chrono::steady_clock::now();
    EXPECT_THAT(Execute("SELECT 1"), IsOk());
    shortest = std::min(shortest,
                        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began));
  }
  EXPECT_LT(shortest, milliseconds(30));
}

TEST_F(StatementTest, ASlowReaderSlowsPostgresqlAndFillsNoMemory) {
  constexpr int64_t kRows = 200'000;  // of 500 bytes: far more than may be held
  ASSERT_THAT(Execute("SELECT repeat('x', 500) FROM generate_series(1, 1000)"), IsOk());
  const int64_t before = ResidentKilobytes(server().process().pid());

  const Client::Context context = Client::NewContext();
  const auto reader = client().sql().Execute(
      context.get(),
      Request(absl::StrCat("SELECT i, repeat('x', 500) FROM generate_series(1, ", kRows, ") AS i")));
  v1::ExecuteResponse part;
  ASSERT_TRUE(reader->Read(&part));
  // Nothing is read now: the backend must come to a stand, waiting for somebody to take its rows.
  EXPECT_TRUE(Eventually(
      [&] { return observer().Activity(held_.lease.backend_pid(), "wait_event") == "ClientWrite"; }));
  const int64_t standing = ResidentKilobytes(server().process().pid());

  int64_t rows = 0, bytes = 0;
  do {
    for (const v1::Row& row : part.rows().rows()) {
      ASSERT_EQ(row.values(0).int_value(), ++rows);
      bytes += static_cast<int64_t>(row.values(1).text_value().size());
    }
    part.Clear();
  } while (reader->Read(&part));
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(rows, kRows);
  EXPECT_EQ(bytes, kRows * 500);
  const int64_t after = ResidentKilobytes(server().process().pid());
  if (PGLESSOR_UNDER_ASAN == 0) {  // which keeps freed memory aside
    EXPECT_LT(standing - before, 32 * 1024);
    EXPECT_LT(after - before, 32 * 1024);
  }
}

TEST_F(StatementTest, AMillionRowsPassThroughWithoutStandingInMemory) {
  constexpr int64_t kRows = 1'000'000;
  ASSERT_THAT(Execute("SELECT generate_series(1, 1000)"), IsOk());
  const int64_t before = ResidentKilobytes(server().process().pid());
  const Client::Context context = Client::NewContext();
  const auto reader =
      client().sql().Execute(context.get(), Request(absl::StrCat("SELECT generate_series(1, ", kRows, ")")));
  int64_t rows = 0, most = 0;
  v1::Summary summary;
  for (v1::ExecuteResponse part; reader->Read(&part);) {
    if (part.has_summary()) summary = part.summary();
    rows += part.rows().rows_size();
    if (rows % 65'536 == 0) most = std::max(most, ResidentKilobytes(server().process().pid()));
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(rows, kRows);
  EXPECT_EQ(summary.rows_returned(), kRows);
  if (PGLESSOR_UNDER_ASAN == 0) {
    EXPECT_LT(most - before, 32 * 1024);
  }
}

TEST_F(StatementTest, AHundredCallersThatStopReadingHarmNobody) {
  constexpr int kDeaf = 100;
  server_.reset();
  Serve(1, kDeaf / 5 + 1);
  const int64_t before = ResidentKilobytes(server().process().pid());
  struct Deaf {
    Client::Context context = Client::NewContext();
    std::unique_ptr<grpc::ClientReader<v1::ExecuteResponse>> reader;
  };
  // Some have a connection each and do not read; the others wait for one, and would not read either.
  std::vector<Deaf> deaf(kDeaf);
  v1::ExecuteRequest endless = Statement("", "SELECT repeat('x', 1000) || generate_series(1, 100000000)");
  endless.mutable_once()->set_holder("deaf");
  for (int i = 0; i < kDeaf / 5; ++i) deaf[i].reader = client().sql().Execute(deaf[i].context.get(), endless);
  const auto standing = [&] {
    return observer().Count(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND wait_event = 'ClientWrite'");
  };
  EXPECT_TRUE(Eventually([&] { return standing() == kDeaf / 5; }));
  const Held held = SystemTest::Acquire();
  for (int i = kDeaf / 5; i < kDeaf; ++i) {
    deaf[i].reader = client().sql().Execute(deaf[i].context.get(), endless);
  }
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == kDeaf - kDeaf / 5; }));

  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(client().Execute(held.token, "SELECT 1").Value(), "int_value: 1");
  }
  if (PGLESSOR_UNDER_ASAN == 0) {
    EXPECT_LT(ResidentKilobytes(server().process().pid()) - before, 256 * 1024);
  }
  for (Deaf& caller : deaf) caller.context->TryCancel();
  for (Deaf& caller : deaf) caller.reader->Finish();
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_TRUE(Eventually([&] {
    const v1::PoolStats stats = client().Stats();
    return stats.waiting() == 0 && stats.available() == stats.total();
  }));
}

TEST_F(StatementTest, AReaderThatGoesMidwayLeavesTheLeaseUsable) {
  const Client::Context context = Client::NewContext();
  const auto reader =
      client().sql().Execute(context.get(), Request("SELECT repeat('x', 500), generate_series(1, 10000000)"));
  v1::ExecuteResponse part;
  ASSERT_TRUE(reader->Read(&part));
  context->TryCancel();
  while (reader->Read(&part)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(observer().AwaitIdle(held_.lease.backend_pid()));
  EXPECT_TRUE(Eventually([&] { return Execute("SELECT 1").ok(); }));
}

TEST_F(StatementTest, ARowOverTheLimitIsTooLarge) {
  const Result large = Execute("SELECT repeat('x', 5000000)");
  EXPECT_THAT(large, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"));
  EXPECT_THAT(large.status.error_message(), HasSubstr("5000000"));
  EXPECT_EQ(Execute("SELECT 1").Value(), "int_value: 1") << "the lease lives on";
  EXPECT_THAT(Execute("SELECT repeat('x', i * 1000000) FROM generate_series(1, 10) AS i"),
              FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"))
      << "after some that fit";
  EXPECT_EQ(Execute("SELECT pg_backend_pid()").Value(),
            absl::StrCat("int_value: ", held_.lease.backend_pid()));
}

// Its row is there when an INSERT has done its work, and may be long before the end of a SELECT.
TEST_F(StatementTest, ARowOverTheLimitSaysWhetherItsStatementWasExecuted) {
  database().MakeTable("deeds", "deed text");
  EXPECT_TRUE(Eventually([&] {
    observer().Run("TRUNCATE deeds");
    const Result large = Execute("INSERT INTO deeds SELECT repeat('x', 5000000) RETURNING deed");
    EXPECT_THAT(large, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"));
    const bool executed = observer().Count("SELECT count(*) FROM deeds") > 0;
    EXPECT_EQ(large.Metadata("executed"), executed ? "true" : "false");
    EXPECT_EQ(absl::StrContains(large.status.error_message(), "do not repeat it blindly"), executed);
    return executed;
  })) << "which ends before it can be cancelled";
  // The second row pushes the first one out of PostgreSQL's buffer.
  const Result stopped = Execute(
      "SELECT repeat('x', 5000000) UNION ALL SELECT repeat('y', 20000) UNION ALL SELECT pg_sleep(600)::text");
  EXPECT_THAT(stopped, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"));
  EXPECT_EQ(stopped.Metadata("executed"), "false");
}

// A caller's gRPC takes messages of 4 MiB unless told otherwise.
TEST_F(StatementTest, ARowUpToTheLimitReachesAnyCaller) {
  for (const int size : {3'000'000, 4'000'000, 4'194'000, 4'194'280, 4'194'300, 4'194'304}) {
    const Result row = Execute("SELECT repeat('x', $1)", {Int(size)});
    if (row.ok()) {
      EXPECT_EQ(row.rows[0].values(0).text_value().size(), static_cast<size_t>(size));
    } else {
      EXPECT_GT(size, 4'000'000);
      EXPECT_THAT(row, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE")) << size;
    }
  }
}

}  // namespace
}  // namespace pglessor::system
