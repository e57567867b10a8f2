// What a statement answered: its rows, and how it ended.
//
// A Result holds all rows in memory. For more than fits there, `Lease::Query` hands them over one by one.
//
// Threads: as for any value type.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "pglessor/row.h"

namespace pglessor {

struct Summary {
  std::vector<Column> columns = {};
  std::string command_tag = {};  // PostgreSQL's own word, for instance "INSERT 0 3"
  int64_t rows_affected = 0;     // by the command tag; 0 if it has no number
  int64_t rows_returned = 0;
  std::chrono::nanoseconds elapsed{0};    // at the server, from sending it to PostgreSQL to its end
  bool in_transaction = false;            // one is open now, be it sound or failed
  std::vector<std::string> notices = {};  // the texts of notices and warnings, in order
};

// A range of Row.
class Result {
 public:
  Result(Summary summary, std::vector<Row> rows) : summary_(std::move(summary)), rows_(std::move(rows)) {}

  std::vector<Row>::const_iterator begin() const { return rows_.begin(); }
  std::vector<Row>::const_iterator end() const { return rows_.end(); }
  size_t size() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  absl::Span<const Row> rows() const { return rows_; }

  // The one value of an answer of one row and one column: `result->value<int64_t>()`.
  // Fails with: INVALID_ARGUMENT if it has another shape, and as Row::get does.
  template <typename T>
  absl::StatusOr<T> value() const {
    if (rows_.size() != 1 || rows_[0].size() != 1) return NotOneValue();
    return rows_[0].template get<T>(0);
  }

  absl::Span<const Column> columns() const { return summary_.columns; }
  const std::string& command_tag() const { return summary_.command_tag; }
  int64_t rows_affected() const { return summary_.rows_affected; }
  bool in_transaction() const { return summary_.in_transaction; }
  const std::vector<std::string>& notices() const { return summary_.notices; }
  const Summary& summary() const { return summary_; }

 private:
  absl::Status NotOneValue() const;

  Summary summary_;
  std::vector<Row> rows_;
};

}  // namespace pglessor
