#include "server/ops/log.h"

#include <unistd.h>

#include <cstddef>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include <nlohmann/json.hpp>

#include "server/core/utf8.h"

namespace pglessor::ops {
namespace {

const char* NameOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "";
}

// Less what a terminal might obey: bytes that are not UTF-8, and the control characters from U+007F to
// U+009F, are written as \xNN. (Those below U+0020 are escaped by either format.)
std::string Printable(absl::string_view text) {
  std::string printable;
  while (!text.empty()) {
    const size_t length = core::FirstCharacterLength(text);
    const auto first = static_cast<unsigned char>(text[0]);
    const bool control =
        first == 0x7f || (first == 0xc2 && length == 2 && static_cast<unsigned char>(text[1]) < 0xa0);
    if (length > 0 && !control) {
      absl::StrAppend(&printable, text.substr(0, length));
      text.remove_prefix(length);
    } else {
      absl::StrAppend(&printable, "\\x", absl::Hex(first, absl::kZeroPad2));
      text.remove_prefix(1);
    }
  }
  return printable;
}

}  // namespace

std::string FormatLogLine(LogFormat format, absl::string_view time, LogLevel level, absl::string_view message,
                          Log::Fields fields) {
  if (format == LogFormat::kJson) {
    nlohmann::ordered_json line = {
        {"time", std::string(time)}, {"level", NameOf(level)}, {"message", Printable(message)}};
    for (const auto& [key, value] : fields) line[std::string(key)] = Printable(value);
    // What is not UTF-8 is replaced, not thrown about.
    return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }
  std::string line = absl::StrCat(time, " ", NameOf(level), " ", Printable(absl::Utf8SafeCEscape(message)));
  for (const auto& [key, value] : fields) {
    absl::StrAppend(&line, " ", key, "=\"", Printable(absl::Utf8SafeCEscape(value)), "\"");
  }
  return line;
}

void Log::Write(LogLevel level, absl::string_view message, Fields fields) const {
  if (!Writes(level)) return;
  const std::string time = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  const std::string line = FormatLogLine(format_, time, level, message, fields) + "\n";
  // One write, so that lines of several threads do not mix. If stderr is gone there is nobody to tell.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace pglessor::ops
