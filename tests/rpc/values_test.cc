#include "server/rpc/values.h"

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace pglessor::rpc {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;
using testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// --- parameters ----------------------------------------------------------------------------------

v1::ExecuteRequest Request(const std::string& sql = "SELECT 1") {
  v1::ExecuteRequest request;
  request.set_sql(sql);
  return request;
}

void ExpectRefused(const v1::ExecuteRequest& request, const std::string& field) {
  const absl::Status status = StatementFromProto(request).status();
  EXPECT_THAT(status, HasReason("FIELD_INVALID"));
  EXPECT_EQ(test::MetadataOf(status, "field"), field);
}

// What one parameter becomes.
core::Parameter ParameterOf(const v1::Value& value) {
  v1::ExecuteRequest request = Request();
  *request.add_params() = value;
  const auto statement = StatementFromProto(request);
  if (!statement.ok()) {
    ADD_FAILURE() << statement.status();
    return {};
  }
  return statement->parameters.at(0);
}

template <typename Set>
core::Parameter Parameter(Set set) {
  v1::Value value;
  set(value);
  return ParameterOf(value);
}

TEST(Values, PassesTextParametersWithTheirTypeLeftOpen) {
  const core::Parameter text = Parameter([](v1::Value& v) { v.set_text_value("h\xc3\xa9llo"); });
  EXPECT_EQ(text.value, "h\xc3\xa9llo");
  EXPECT_FALSE(text.binary);
  EXPECT_EQ(Parameter([](v1::Value& v) { v.set_text_value(""); }).value, "");
}

TEST(Values, PassesNull) {
  const core::Parameter null =
      Parameter([](v1::Value& v) { v.set_null_value(google::protobuf::NULL_VALUE); });
  EXPECT_EQ(null.value, std::nullopt);
}

TEST(Values, PassesBooleansAsWords) {
  EXPECT_EQ(Parameter([](v1::Value& v) { v.set_bool_value(true); }).value, "true");
  EXPECT_EQ(Parameter([](v1::Value& v) { v.set_bool_value(false); }).value, "false");
}

TEST(Values, PassesIntegersToTheirEnds) {
  EXPECT_EQ(Parameter([](v1::Value& v) { v.set_int_value(0); }).value, "0");
  EXPECT_EQ(Parameter([](v1::Value& v) { v.set_int_value(std::numeric_limits<int64_t>::max()); }).value,
            "9223372036854775807");
  EXPECT_EQ(Parameter([](v1::Value& v) { v.set_int_value(std::numeric_limits<int64_t>::min()); }).value,
            "-9223372036854775808");
}

TEST(Values, PassesDoublesSoThatTheyReadBackTheSame) {
  for (const double real : {0.0, 0.1, -1.5, 1e300, std::numeric_limits<double>::max(),
                            std::numeric_limits<double>::min(), std::numeric_limits<double>::denorm_min()}) {
    const core::Parameter parameter = Parameter([&](v1::Value& v) { v.set_double_value(real); });
    EXPECT_EQ(std::strtod(parameter.value->c_str(), nullptr), real);
  }
}

TEST(Values, PassesNotANumberAndTheInfinitiesAsPostgresSpellsThem) {
  EXPECT_EQ(Parameter([](v1::Value& v) { v.set_double_value(std::nan("")); }).value, "NaN");
  EXPECT_EQ(Parameter([](v1::Value& v) { v.set_double_value(-std::nan("")); }).value, "NaN");
  EXPECT_EQ(Parameter([](v1::Value& v) { v.set_double_value(kInfinity); }).value, "Infinity");
  EXPECT_EQ(Parameter([](v1::Value& v) { v.set_double_value(-kInfinity); }).value, "-Infinity");
}

TEST(Values, PassesAllBytesAsBinary) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const core::Parameter bytes = Parameter([&](v1::Value& v) { v.set_bytes_value(all); });
  EXPECT_EQ(bytes.value, all);
  EXPECT_TRUE(bytes.binary);
}

TEST(Values, KeepsTheOrderOfParameters) {
  v1::ExecuteRequest request = Request();
  for (int i = 0; i < 3; ++i) request.add_params()->set_int_value(i);
  const auto statement = StatementFromProto(request);
  ASSERT_THAT(statement, IsOk());
  std::vector<std::string> values;
  for (const core::Parameter& parameter : statement->parameters) values.push_back(*parameter.value);
  EXPECT_THAT(values, ElementsAre("0", "1", "2"));
}

TEST(Values, RefusesAParameterWithoutAKindAndSaysWhich) {
  v1::ExecuteRequest request = Request();
  request.add_params()->set_int_value(1);
  request.add_params();
  ExpectRefused(request, "params[1]");
}

TEST(Values, RefusesNulWhereACStringWouldEnd) {
  v1::ExecuteRequest request = Request();
  request.add_params()->set_text_value(std::string("a\0b", 3));
  ExpectRefused(request, "params[0]");
  ExpectRefused(Request(std::string("SELECT 1\0; DROP TABLE t", 23)), "sql");
}

TEST(Values, TakesAsManyParametersAsPostgresCounts) {
  v1::ExecuteRequest request = Request();
  for (int i = 0; i < 65'535; ++i) request.add_params()->set_bool_value(true);
  EXPECT_THAT(StatementFromProto(request), IsOk());
  request.add_params()->set_bool_value(true);
  ExpectRefused(request, "params");
}

// --- the rest of the request ---------------------------------------------------------------------

TEST(Values, TakesAnEmptyStatement) { EXPECT_THAT(StatementFromProto(Request("")), IsOk()); }

TEST(Values, TakesTheStatementsLimits) {
  v1::ExecuteRequest request = Request("SELECT 2");
  request.mutable_statement_timeout()->set_seconds(3);
  request.set_max_rows(7);
  request.set_batch_rows(9);
  const auto statement = StatementFromProto(request);
  ASSERT_THAT(statement, IsOk());
  EXPECT_EQ(statement->sql, "SELECT 2");
  EXPECT_EQ(statement->timeout, core::Duration(3s));
  EXPECT_EQ(statement->max_rows, 7);
  EXPECT_EQ(StatementFromProto(Request())->timeout, std::nullopt);
}

TEST(Values, RefusesLimitsBelowZero) {
  v1::ExecuteRequest request = Request();
  request.set_batch_rows(-1);
  ExpectRefused(request, "batch_rows");
  request.set_batch_rows(0);
  request.set_max_rows(std::numeric_limits<int64_t>::min());
  ExpectRefused(request, "max_rows");
}

TEST(Values, RefusesAStatementTimeoutOfZeroOrLess) {
  v1::ExecuteRequest request = Request();
  request.mutable_statement_timeout();
  ExpectRefused(request, "statement_timeout");
  request.mutable_statement_timeout()->set_seconds(-1);
  ExpectRefused(request, "statement_timeout");
  request.mutable_statement_timeout()->set_seconds(1);
  request.mutable_statement_timeout()->set_nanos(1'000'000'000);
  ExpectRefused(request, "statement_timeout");
}

// --- results -------------------------------------------------------------------------------------

v1::Value Result(uint32_t oid, const core::Field& field) {
  v1::Value value;
  ToProto(field, oid, value);
  return value;
}

TEST(Values, ShowsNullOfEveryType) {
  for (const uint32_t oid : {16U, 17U, 20U, 21U, 23U, 25U, 700U, 701U, 1700U, 99'999U}) {
    EXPECT_EQ(Result(oid, std::nullopt).kind_case(), v1::Value::kNullValue) << oid;
  }
}

TEST(Values, ShowsBooleans) {
  EXPECT_EQ(Result(16, "t").kind_case(), v1::Value::kBoolValue);
  EXPECT_TRUE(Result(16, "t").bool_value());
  EXPECT_EQ(Result(16, "f").kind_case(), v1::Value::kBoolValue);
  EXPECT_FALSE(Result(16, "f").bool_value());
}

TEST(Values, ShowsIntegersToTheirEnds) {
  for (const uint32_t oid : {20U, 21U, 23U}) {
    EXPECT_EQ(Result(oid, "-42").int_value(), -42) << oid;
    EXPECT_EQ(Result(oid, "0").kind_case(), v1::Value::kIntValue) << oid;
  }
  EXPECT_EQ(Result(20, "9223372036854775807").int_value(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Result(20, "-9223372036854775808").int_value(), std::numeric_limits<int64_t>::min());
}

TEST(Values, ShowsDoublesToTheirEnds) {
  for (const uint32_t oid : {700U, 701U}) {
    EXPECT_EQ(Result(oid, "-1.5").double_value(), -1.5) << oid;
    EXPECT_TRUE(std::isnan(Result(oid, "NaN").double_value())) << oid;
    EXPECT_EQ(Result(oid, "Infinity").double_value(), kInfinity) << oid;
    EXPECT_EQ(Result(oid, "-Infinity").double_value(), -kInfinity) << oid;
  }
  EXPECT_EQ(Result(701, "1.7976931348623157e+308").double_value(), std::numeric_limits<double>::max());
  const v1::Value least = Result(701, "5e-324");
  EXPECT_EQ(least.kind_case(), v1::Value::kDoubleValue);
  EXPECT_EQ(least.double_value(), std::numeric_limits<double>::denorm_min());
  EXPECT_TRUE(std::signbit(Result(701, "-0").double_value()));
}

TEST(Values, ShowsByteaAsItsBytes) {
  const std::string bytes("\0\xff\\x", 4);
  EXPECT_EQ(Result(17, bytes).bytes_value(), bytes);
  EXPECT_EQ(Result(17, "").kind_case(), v1::Value::kBytesValue);
}

TEST(Values, ShowsEverythingElseAsPostgresText) {
  // numeric, text, timestamptz, json, int8[], oid, an extension's type
  for (const uint32_t oid : {1700U, 25U, 1184U, 114U, 1016U, 26U, 99'999U}) {
    EXPECT_EQ(Result(oid, "12.50").text_value(), "12.50") << oid;
  }
  EXPECT_EQ(Result(25, "").kind_case(), v1::Value::kTextValue);
}

TEST(Values, ShowsWhatIsNotANumberAsText) {
  // No such value comes from PostgreSQL; if one did, it would not be lost.
  EXPECT_EQ(Result(20, "9223372036854775808").text_value(), "9223372036854775808");
  EXPECT_EQ(Result(701, "wide").text_value(), "wide");
}

// A holder may SET client_encoding, or the database be SQL_ASCII. proto3 text is UTF-8, and a receiver
// drops the whole message that holds any other.
TEST(Values, ShowsTextThatIsNotUtf8SoThatItsReceiverCanReadTheMessage) {
  const v1::Value value = Result(25, "caf\xe9");
  v1::Value received;
  EXPECT_TRUE(received.ParseFromString(value.SerializeAsString()));
}

TEST(Values, ShowsNoticesThatAreNotUtf8SoThatTheirReceiverCanReadTheMessage) {
  core::StatementEnd end;
  end.notices = {"caf\xe9"};
  v1::Summary summary;
  ToProto(end, summary);
  v1::Summary received;
  EXPECT_TRUE(received.ParseFromString(summary.SerializeAsString()));
}

TEST(Values, ShowsColumns) {
  v1::Column column;
  ToProto(core::Column{"n", 20, "int8"}, column);
  EXPECT_EQ(column.name(), "n");
  EXPECT_EQ(column.type_oid(), 20U);
  EXPECT_EQ(column.type_name(), "int8");
}

TEST(Values, ShowsTheSummary) {
  core::StatementEnd end;
  end.command_tag = "INSERT 0 3";
  end.rows_affected = 3;
  end.rows_returned = 2;
  end.elapsed = 1500us;
  end.in_transaction = true;
  end.notices = {"first", "second"};
  v1::Summary summary;
  ToProto(end, summary);
  EXPECT_EQ(summary.command_tag(), "INSERT 0 3");
  EXPECT_EQ(summary.rows_affected(), 3);
  EXPECT_EQ(summary.rows_returned(), 2);
  EXPECT_EQ(summary.elapsed().nanos(), 1'500'000);
  EXPECT_TRUE(summary.in_transaction());
  EXPECT_THAT(summary.notices(), ElementsAre("first", "second"));
}

// A gRPC client takes 4 MiB in a message by default. A statement can raise what it likes.
TEST(Values, ShowsNoMoreOfTheNoticesThanAClientTakes) {
  core::StatementEnd end;
  end.notices.assign(100, std::string(1'000'000, 'x'));
  v1::Summary summary;
  ToProto(end, summary);
  EXPECT_LT(summary.ByteSizeLong(), size_t{4} << 20);
}

}  // namespace
}  // namespace pglessor::rpc
