#include "server/ops/log.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <nlohmann/json.hpp>

namespace pglessor::ops {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kTime[] = "2024-05-06T07:08:09.123Z";

std::string Text(absl::string_view message, Log::Fields fields = {}) {
  return FormatLogLine(LogFormat::kText, kTime, LogLevel::kInfo, message, fields);
}
std::string Json(absl::string_view message, Log::Fields fields = {}) {
  return FormatLogLine(LogFormat::kJson, kTime, LogLevel::kInfo, message, fields);
}

// What a terminal acts on: C0 and C1 controls and DEL, the latter two also where a byte alone is one.
bool HasTerminalCodes(const std::string& line) {
  for (size_t i = 0; i < line.size(); ++i) {
    const auto byte = static_cast<unsigned char>(line[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    const bool continues = i > 0 && static_cast<unsigned char>(line[i - 1]) >= 0xc2;
    if (byte >= 0x80 && byte < 0xa0 && (!continues || static_cast<unsigned char>(line[i - 1]) == 0xc2))
      return true;
  }
  return false;
}

TEST(LogLine, AsTextReadsWell) {
  EXPECT_EQ(Text("lease granted", {{"lease", "r-1-7"}, {"tenant", "billing"}}),
            "2024-05-06T07:08:09.123Z info lease granted lease=\"r-1-7\" tenant=\"billing\"");
  EXPECT_EQ(Text("ready"), "2024-05-06T07:08:09.123Z info ready");
}

TEST(LogLine, AsJsonParses) {
  const auto line = nlohmann::ordered_json::parse(Json("lease granted", {{"lease", "r-1-7"}}));
  EXPECT_EQ(line.dump(), R"({"time":"2024-05-06T07:08:09.123Z","level":"info","message":"lease granted",)"
                         R"("lease":"r-1-7"})");
}

TEST(LogLine, NamesEveryLevel) {
  const std::pair<LogLevel, const char*> levels[] = {{LogLevel::kDebug, "debug"},
                                                     {LogLevel::kInfo, "info"},
                                                     {LogLevel::kWarning, "warning"},
                                                     {LogLevel::kError, "error"}};
  for (const auto& [level, name] : levels) {
    EXPECT_EQ(FormatLogLine(LogFormat::kText, "T", level, "m", {}), std::string("T ") + name + " m");
    EXPECT_EQ(nlohmann::json::parse(FormatLogLine(LogFormat::kJson, "T", level, "m", {}))["level"], name);
  }
}

TEST(LogLine, OfTextWithALineEndIsOneLine) {
  for (const char* text : {"a\nb", "a\rb", "a\r\nb", "\n", "a\vb\fc"}) {
    for (const std::string& line : {Text(text, {{"k", text}}), Json(text, {{"k", text}})}) {
      EXPECT_THAT(line, Not(HasSubstr("\n")));
      EXPECT_THAT(line, Not(HasSubstr("\r")));
      EXPECT_FALSE(HasTerminalCodes(line)) << testing::PrintToString(line);
    }
  }
}

TEST(LogLine, CannotBeForgedByAQuote) {
  EXPECT_EQ(Text("m", {{"holder", "me\" tenant=\"root"}}),
            "2024-05-06T07:08:09.123Z info m holder=\"me\\\" tenant=\\\"root\"");
  EXPECT_EQ(Text("m", {{"holder", "me\\"}}), "2024-05-06T07:08:09.123Z info m holder=\"me\\\\\"");
  const auto line = nlohmann::json::parse(Json("m", {{"holder", R"(me","level":"error)"}}));
  EXPECT_EQ(line["holder"], R"(me","level":"error)");
  EXPECT_EQ(line["level"], "info");
}

TEST(LogLine, PassesNoTerminalCode) {
  const std::string codes[] = {
      "\x1b[31mred",           // ESC
      std::string("a\0b", 3),  // NUL
      "\x07\x08\x7f",          // bell, backspace, delete
      "\xc2\x9b"
      "31mred",  // U+009B, the C1 form of ESC [
      "\x9b"
      "31mred",        // the same as one byte, and not UTF-8
      "\xc2\x85next",  // U+0085, a line end
  };
  for (const std::string& code : codes) {
    for (const std::string& line : {Text(code, {{"k", code}}), Json(code, {{"k", code}})}) {
      EXPECT_FALSE(HasTerminalCodes(line)) << testing::PrintToString(line);
    }
  }
}

TEST(LogLine, OfWhatIsNotUtf8StillParses) {
  for (const char* bytes : {"caf\xe9", "\xff\xfe", "\xc3", "\xed\xa0\x80", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_NO_THROW(EXPECT_EQ(nlohmann::json::parse(Json(bytes, {{"k", bytes}})).size(), 4U)) << bytes;
  }
}

TEST(LogLine, KeepsTextInOtherLanguages) {
  EXPECT_EQ(nlohmann::json::parse(Json("Verbindung f\xc3\xbcr \xe2\x80\xa6"))["message"],
            "Verbindung f\xc3\xbcr \xe2\x80\xa6");
}

}  // namespace
}  // namespace pglessor::ops
