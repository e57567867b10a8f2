// One row of a result.
//
//   for (const pglessor::Row& row : *result) {
//     absl::StatusOr<int64_t> id = row.get<int64_t>(0);
//     absl::StatusOr<std::optional<std::string>> note = row.get<std::optional<std::string>>("note");
//   }
//
// A value that is not of the asked type is an error that says which column it was, never an exception. Where
// the statement itself makes sure of the type, `*row.get<int64_t>(0)` is short, and ends the process with
// that error if it is wrong all the same.
//
// Threads: as for any value type. Owns: its values; it may outlive the result that it came from.
// Fails with: INVALID_ARGUMENT (NULL, or a value of another type), OUT_OF_RANGE (no such index, or an integer
// that does not fit), NOT_FOUND (no such name).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "pglessor/value.h"

namespace pglessor {

struct Column {
  std::string name;       // PostgreSQL allows the same one twice
  uint32_t type_oid = 0;  // as in pg_type.oid
  std::string type_name;  // for instance int8; empty where the service does not know it
};

class Row {
 public:
  using Columns = std::shared_ptr<const std::vector<Column>>;

  Row(Columns columns, std::vector<Value> values)
      : columns_(std::move(columns)), values_(std::move(values)) {}

  size_t size() const { return values_.size(); }
  absl::Span<const Value> values() const { return values_; }
  absl::Span<const Column> columns() const { return *columns_; }

  template <typename T>
  absl::StatusOr<T> get(size_t column) const {
    if (column >= values_.size()) return NoColumn(column);
    absl::StatusOr<T> value = values_[column].template To<T>();
    if (!value.ok()) return InColumn(column, value.status());
    return value;
  }

  // Of the first column of that name.
  template <typename T>
  absl::StatusOr<T> get(absl::string_view name) const {
    const absl::StatusOr<size_t> column = Find(name);
    if (!column.ok()) return column.status();
    return get<T>(*column);
  }

  // All columns at once: `auto row = r.as<int64_t, std::string>();` then `auto& [id, name] = *row;`.
  // As many types as columns, else INVALID_ARGUMENT.
  template <typename... Ts>
  absl::StatusOr<std::tuple<Ts...>> as() const {
    if (sizeof...(Ts) != values_.size()) return OtherWidth(sizeof...(Ts));
    return As<Ts...>(std::index_sequence_for<Ts...>());
  }

 private:
  template <typename... Ts, size_t... kIndex>
  absl::StatusOr<std::tuple<Ts...>> As(std::index_sequence<kIndex...>) const {
    std::tuple<absl::StatusOr<Ts>...> values(get<Ts>(kIndex)...);
    absl::Status status;
    (status.Update(std::get<kIndex>(values).status()), ...);
    if (!status.ok()) return status;
    return std::tuple<Ts...>(*std::move(std::get<kIndex>(values))...);
  }

  absl::StatusOr<size_t> Find(absl::string_view name) const;
  absl::Status NoColumn(size_t column) const;
  absl::Status InColumn(size_t column, const absl::Status& why) const;
  absl::Status OtherWidth(size_t asked) const;

  Columns columns_;
  std::vector<Value> values_;
};

}  // namespace pglessor
