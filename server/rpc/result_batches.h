// A statement's rows as messages: the header, rows in batches, the summary.
//
// The header waits for the first batch, or for the end: a short answer then goes out in one go.
//
// Plain state: whoever has it guards it. One object serves one statement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "pglessor/v1/sql_service.pb.h"
#include "server/core/statement.h"

namespace pglessor::rpc {

// Messages that stand ready before PostgreSQL is asked to pause, and how few before it goes on.
inline constexpr size_t kPauseAt = 4;
inline constexpr size_t kResumeAt = 1;

class ResultBatches {
 public:
  using Emit = absl::FunctionRef<void(v1::ExecuteResponse&&)>;

  // At most so many rows in a batch; 0 = the default.
  explicit ResultBatches(int32_t batch_rows);

  void AddColumns(const std::vector<core::Column>& columns);
  // Fails with: RESOURCE_EXHAUSTED TOO_LARGE, of a row over the limit; nothing may follow but End.
  absl::Status AddRow(core::Row row, Emit emit);
  // What the caller is to be told: what AddRow failed with and whether the statement was executed all the
  // same, unless it was cut off; or else the end's own error. Where that is OK, the summary was the last
  // message.
  absl::Status End(const core::StatementEnd& end, Emit emit);
  // A message that has been written: its rows' memory serves the next ones.
  void TakeBack(v1::ExecuteResponse&& written);

 private:
  void CloseBatch(Emit emit);
  void TellHeader(Emit emit);

  const int batch_rows_;
  std::vector<uint32_t> column_types_;
  v1::ExecuteResponse header_;
  bool header_told_ = false;
  v1::ExecuteResponse batch_;
  std::vector<v1::ExecuteResponse> spare_;  // at most kPauseAt, each without rows
  size_t batch_bytes_ = 0;
  absl::Status too_large_;
};

}  // namespace pglessor::rpc
