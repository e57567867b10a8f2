// A statement, its rows and its end, as they pass between whoever runs it and whoever asked for it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "server/core/clock.h"

namespace pglessor::core {

// A parameter as it goes to PostgreSQL: text with the type left to PostgreSQL's inference, or bytes as a
// binary bytea. Nothing = NULL.
struct Parameter {
  std::optional<std::string> value;
  bool binary = false;
};

// Who a lease is, as its own statements see it: see fencing_tokens.h for the number.
struct LeaseLabel {
  std::string lease_id;
  uint64_t fencing_token = 0;
  std::string pool;
  std::string tenant;
};

struct Statement {
  std::string sql;
  std::vector<Parameter> parameters;
  std::optional<Duration> timeout;  // counted from when it is sent
  int64_t max_rows = 0;             // cut the result after so many; 0 = all
  std::optional<LeaseLabel> label;  // with the first of a lease
};

struct Column {
  std::string name;
  uint32_t type_oid = 0;
  std::string type_name;
};

// One value of a row, in PostgreSQL's text format; a bytea as its bytes. Nothing = NULL. Valid only during
// the call that brings it.
using Field = std::optional<absl::string_view>;
using Row = std::span<const Field>;

// How a statement ended, as far as its connection can say. What the caller is told (is it known not to
// have happened?) is decided from this in statement_outcome.h, in one place.
struct StatementEnd {
  enum class How {
    kDone,            // it ran; the summary holds
    kFailed,          // PostgreSQL, or we before sending, refused it: `error`. The session lives on
    kConnectionLost,  // the connection died under it
    kFenced,          // its lease ended under it
  };
  How how = How::kDone;
  absl::Status error;
  // Of kConnectionLost and kFenced: was any of it sent, and did an open transaction surround it?
  bool sent = false;
  bool was_in_transaction = false;

  std::string command_tag;
  int64_t rows_affected = 0;
  int64_t rows_returned = 0;
  Duration elapsed{};
  bool in_transaction = false;  // after it
  std::vector<std::string> notices;
};

// Who wants the rows. A port: the rpc edge implements it.
// Threads: called on the connection's strand only, in this order: OnColumns at most once, OnRow any
//   number of times, OnEnd exactly once and last. No lock is held.
class StatementSink {
 public:
  enum class Flow {
    kContinue,
    kPause,  // take no more rows from PostgreSQL until Connection::ResumeRows
  };

  virtual ~StatementSink() = default;
  virtual void OnColumns(std::vector<Column> columns) = 0;
  virtual Flow OnRow(Row row) = 0;
  virtual void OnEnd(StatementEnd end) = 0;
};

}  // namespace pglessor::core
