// A statement's sink that keeps what it is told.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "gtest/gtest.h"

#include "server/core/statement.h"

namespace pglessor::test {

// Threads: written on the connection's strand; read it once ended() is true.
class RecordingSink : public core::StatementSink {
 public:
  RecordingSink() = default;
  // `at_end` runs inside OnEnd.
  explicit RecordingSink(absl::AnyInvocable<void()> at_end) : at_end_(std::move(at_end)) {}

  void OnColumns(std::vector<core::Column> columns) override {
    EXPECT_FALSE(ended()) << "columns after the end";
    columns_ = std::move(columns);
  }

  Flow OnRow(core::Row row) override {
    EXPECT_FALSE(ended()) << "a row after the end";
    std::vector<std::string> values;
    for (const core::Field& field : row) values.emplace_back(field.value_or("NULL"));
    rows_.push_back(std::move(values));
    return Flow::kContinue;
  }

  void OnEnd(core::StatementEnd end) override {
    EXPECT_FALSE(ended()) << "a second end";
    end_ = std::move(end);
    if (at_end_) at_end_();
    ended_.store(true);
  }

  bool ended() const { return ended_.load(); }
  // Requires: ended().
  const core::StatementEnd& end() const { return end_; }
  const std::vector<core::Column>& columns() const { return columns_; }
  const std::vector<std::vector<std::string>>& rows() const { return rows_; }

 private:
  absl::AnyInvocable<void()> at_end_;
  std::vector<core::Column> columns_;
  std::vector<std::vector<std::string>> rows_;
  core::StatementEnd end_;
  std::atomic<bool> ended_{false};
};

}  // namespace pglessor::test
