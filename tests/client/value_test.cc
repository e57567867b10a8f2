#include "pglessor/value.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pglessor {
namespace {

using testing::HasSubstr;

template <typename T>
constexpr T kMost = std::numeric_limits<T>::max();
template <typename T>
constexpr T kLeast = std::numeric_limits<T>::min();

template <typename T>
bool Is(const Value& value, const T& expected) {
  return std::holds_alternative<T>(value.kind()) && std::get<T>(value.kind()) == expected;
}

TEST(Value, IsMadeOfWhatIsWritten) {
  EXPECT_TRUE(Value().is_null());
  EXPECT_TRUE(Value(nullptr).is_null());
  EXPECT_TRUE(Value(std::nullopt).is_null());
  EXPECT_TRUE(Value(std::optional<int>()).is_null());
  EXPECT_TRUE(Is<int64_t>(std::optional<int>(7), 7));
  EXPECT_TRUE(Is<bool>(true, true));
  EXPECT_TRUE(Is<int64_t>(short{-1}, -1));
  EXPECT_TRUE(Is<int64_t>(kLeast<int64_t>, kLeast<int64_t>));
  EXPECT_TRUE(Is<int64_t>(kMost<uint32_t>, kMost<uint32_t>));
  EXPECT_TRUE(Is<double>(0.5F, 0.5));
  EXPECT_TRUE(Is<std::string>("text", "text"));
  EXPECT_TRUE(Is<std::string>(std::string("text"), "text"));
  EXPECT_TRUE(Is<std::string>(std::string_view("text"), "text"));
  EXPECT_TRUE(Is<std::string>(absl::string_view("text"), "text"));
  EXPECT_TRUE(Is<Bytes>(Bytes{"\x00\xff"}, Bytes{"\x00\xff"}));
}

TEST(Value, APointerIsNoBool) {
  EXPECT_FALSE((std::is_constructible_v<Value, int*>));
  EXPECT_FALSE((std::is_constructible_v<Value, void*>));
}

TEST(Value, AnIntegerBeyondInt64IsWrittenOut) {
  EXPECT_TRUE(Is<int64_t>(uint64_t{kMost<int64_t>}, kMost<int64_t>));
  EXPECT_TRUE(Is<std::string>(kMost<uint64_t>, "18446744073709551615"));
}

TEST(Value, ConvertsToItsOwnType) {
  EXPECT_EQ(Value(true).To<bool>().value(), true);
  EXPECT_EQ(Value(7).To<int64_t>().value(), 7);
  EXPECT_EQ(Value(0.5).To<double>().value(), 0.5);
  EXPECT_EQ(Value("text").To<std::string>().value(), "text");
  EXPECT_EQ(Value(Bytes{"raw"}).To<Bytes>().value(), Bytes{"raw"});
  const Value text("text");
  EXPECT_EQ(text.To<absl::string_view>().value(), "text");
  EXPECT_EQ(text.To<std::string_view>().value(), "text");
}

TEST(Value, ConvertsToEveryIntegerThatHoldsIt) {
  EXPECT_EQ(Value(kMost<int32_t>).To<int32_t>().value(), kMost<int32_t>);
  EXPECT_EQ(Value(kLeast<int16_t>).To<int16_t>().value(), kLeast<int16_t>);
  EXPECT_EQ(Value(kMost<uint32_t>).To<uint32_t>().value(), kMost<uint32_t>);
  EXPECT_EQ(Value(kMost<int64_t>).To<uint64_t>().value(), uint64_t{kMost<int64_t>});
}

TEST(Value, DoesNotCutAnInteger) {
  EXPECT_EQ(Value(int64_t{kMost<int32_t>} + 1).To<int32_t>().status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Value(int64_t{kLeast<int32_t>} - 1).To<int32_t>().status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Value(-1).To<uint64_t>().status().code(), absl::StatusCode::kOutOfRange);
}

TEST(Value, DoesNotGuessATypeThatItIsNot) {
  EXPECT_TRUE(absl::IsInvalidArgument(Value("7").To<int64_t>().status())) << "numeric is text: cast it";
  EXPECT_TRUE(absl::IsInvalidArgument(Value(7).To<double>().status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Value(7).To<bool>().status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Value(7).To<std::string>().status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Value(Bytes{"raw"}).To<std::string>().status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Value("text").To<Bytes>().status()));
  EXPECT_THAT(std::string(Value("text").To<int64_t>().status().message()), HasSubstr("text, not an integer"));
}

TEST(Value, OnlyAnOptionalTakesNull) {
  EXPECT_EQ(Value().To<std::optional<int64_t>>().value(), std::nullopt);
  EXPECT_EQ(Value(7).To<std::optional<int64_t>>().value(), 7);
  EXPECT_TRUE(absl::IsInvalidArgument(Value("text").To<std::optional<int64_t>>().status()));
  const absl::Status status = Value().To<int64_t>().status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("std::optional takes NULL"));
}

}  // namespace
}  // namespace pglessor
