// Structured log lines on stderr: one event a line, as JSON or, on a terminal, as text to read.
//
// Never put a secret in one: not a token, a password, a DSN, or a statement's parameters.
#pragma once

#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace pglessor::ops {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// Threads: any; a line is written whole.
class Log {
 public:
  using Field = std::pair<absl::string_view, absl::string_view>;
  using Fields = absl::Span<const Field>;

  Log(LogLevel least, LogFormat format) : least_(least), format_(format) {}

  // Whether a line of this level is written at all.
  bool Writes(LogLevel level) const { return level >= least_; }
  void Write(LogLevel level, absl::string_view message, Fields fields) const;

  void Info(absl::string_view message, Fields fields = {}) const { Write(LogLevel::kInfo, message, fields); }
  void Warning(absl::string_view message, Fields fields = {}) const {
    Write(LogLevel::kWarning, message, fields);
  }
  void Error(absl::string_view message, Fields fields = {}) const {
    Write(LogLevel::kError, message, fields);
  }

 private:
  const LogLevel least_;
  const LogFormat format_;
};

// The line that Log writes, without its end; `time` as RFC 3339. Text is escaped: no caller's newline or
// terminal code reaches the terminal.
std::string FormatLogLine(LogFormat format, absl::string_view time, LogLevel level, absl::string_view message,
                          Log::Fields fields);

}  // namespace pglessor::ops
