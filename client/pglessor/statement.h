// One SQL statement, with its parameters and limits.
//
//   lease->Execute("SELECT name FROM fruit WHERE grams > $1", 100);          // the short form
//   Statement slow("SELECT pg_sleep($1)", {0.5});                            // the long one
//   slow.statement_timeout = std::chrono::seconds(1);
//   lease->Execute(slow);
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pglessor/value.h"

namespace pglessor {

struct Statement {
  explicit Statement(std::string text, std::vector<Value> values = {})
      : sql(std::move(text)), params(std::move(values)) {}

  std::string sql;
  std::vector<Value> params;  // $1, $2 and so on

  // The server cancels the statement after this time: DEADLINE_EXCEEDED, SQLSTATE 57014. Unset: only
  // PostgreSQL's own statement_timeout bounds it.
  std::optional<std::chrono::nanoseconds> statement_timeout = {};
  // The call's deadline, this long from its start; the statement is cancelled then. Unset: the call ends
  // with the lease at the latest.
  std::optional<std::chrono::nanoseconds> timeout = {};
  // At most so many rows are sent; further ones are dropped. 0: no limit.
  int64_t max_rows = 0;
};

}  // namespace pglessor
