// One SQL value: a parameter on its way in, or a column of a row on its way out.
//
// PostgreSQL infers a parameter's type from the statement, as for a quoted literal; cast where it cannot:
// `$1::int8`. In a row, int2, int4 and int8 are integers, float4 and float8 doubles, bool and bytea what
// they say, and every other type (numeric, timestamps, json …) is PostgreSQL's text.
//
// `To<T>()` converts without loss or not at all:
//
//   T                              takes
//   bool                           a boolean
//   integers but bool and char     an integer in T's range
//   double                         a double
//   std::string, absl::string_view text; the view lives as long as the value
//   Bytes                          bytes
//   std::optional<T>               NULL, or what T takes
//
// Threads: as for any value type.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace pglessor {

// Raw bytes (bytea), as opposed to text.
struct Bytes {
  std::string data;
  friend bool operator==(const Bytes&, const Bytes&) = default;
};

namespace internal {
template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <typename T>
concept Integer =
    std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> && !std::same_as<T, wchar_t> &&
    !std::same_as<T, char8_t> && !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;
template <typename T>
concept View = std::same_as<T, absl::string_view> || std::same_as<T, std::string_view>;
}  // namespace internal

class Value {
 public:
  using Kind = std::variant<std::nullptr_t, bool, int64_t, double, std::string, Bytes>;

  // Implicit, so that parameters are written as they are.
  // NOLINTBEGIN(google-explicit-constructor)
  Value() : kind_(nullptr) {}
  Value(std::nullptr_t) : kind_(nullptr) {}
  Value(std::nullopt_t) : kind_(nullptr) {}
  template <std::same_as<bool> T>  // no pointer becomes a bool
  Value(T value) : kind_(value) {}
  template <internal::Integer T>
  Value(T value) {
    if (std::in_range<int64_t>(value)) {
      kind_ = static_cast<int64_t>(value);
    } else {
      kind_ = std::to_string(value);  // PostgreSQL's numeric takes it; its int8 says that it does not fit
    }
  }
  template <std::floating_point T>
  Value(T value) : kind_(static_cast<double>(value)) {}
  Value(std::string text) : kind_(std::move(text)) {}
  Value(const char* text) : kind_(std::string(text)) {}
  template <internal::View T>
  Value(T text) : kind_(std::string(text.data(), text.size())) {}
  Value(Bytes bytes) : kind_(std::move(bytes)) {}
  template <typename T>
  Value(std::optional<T> value) : Value(value ? Value(*std::move(value)) : Value()) {}
  // NOLINTEND(google-explicit-constructor)

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(kind_); }
  const Kind& kind() const { return kind_; }

  // Fails with INVALID_ARGUMENT (another kind of value, NULL among them) and OUT_OF_RANGE (an integer that
  // T cannot hold).
  template <typename T>
  absl::StatusOr<T> To() const {
    if constexpr (internal::kIsOptional<T>) {
      if (is_null()) return T();
      absl::StatusOr<typename T::value_type> value = To<typename T::value_type>();
      if (!value.ok()) return value.status();
      return T(*std::move(value));
    } else if constexpr (internal::Integer<T>) {
      const int64_t* value = std::get_if<int64_t>(&kind_);
      if (value == nullptr) return IsNot("an integer");
      if (!std::in_range<T>(*value)) return DoesNotFit(*value);
      return static_cast<T>(*value);
    } else if constexpr (internal::View<T>) {
      const std::string* text = std::get_if<std::string>(&kind_);
      if (text == nullptr) return IsNot("text");
      return T(text->data(), text->size());
    } else {
      static_assert(std::same_as<T, bool> || std::same_as<T, double> || std::same_as<T, std::string> ||
                        std::same_as<T, Bytes>,
                    "see the table at the head of this file");
      const T* value = std::get_if<T>(&kind_);
      if (value != nullptr) return *value;
      if constexpr (std::same_as<T, bool>) return IsNot("a boolean");
      if constexpr (std::same_as<T, double>) return IsNot("a double");
      if constexpr (std::same_as<T, std::string>) return IsNot("text");
      return IsNot("bytes");
    }
  }

  friend bool operator==(const Value&, const Value&) = default;

 private:
  absl::Status IsNot(absl::string_view wanted) const;
  static absl::Status DoesNotFit(int64_t value);

  Kind kind_;
};

}  // namespace pglessor
