// Whether a statement can end its transaction is read off its text, which is anybody's. Never a crash, and
// never "it stays" of a text whose first word is one that may end it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"

#include "server/core/statement_outcome.h"
#include "tests/fuzz/fuzz_check.h"

namespace {

// What PostgreSQL takes for a blank.
constexpr char kBlanks[] = " \t\n\r\f\v";
constexpr std::array<const char*, 6> kEnding = {"COMMIT", "end", "Prepare", "CALL", "do", "gibberish"};
constexpr char kStaying[] = "SELECT 1";

bool HasOnlyBlanks(const std::string& text) { return text.find_first_not_of(kBlanks) == std::string::npos; }

// As the inside of a comment: nothing that begins or ends one.
std::string WithoutSlashesAndStars(std::string text) {
  for (char& c : text) {
    if (c == '/' || c == '*') c = '.';
  }
  return text;
}

std::string WithoutLineEnds(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = '.';
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using pglessor::core::StaysInTransaction;
  const std::string input(reinterpret_cast<const char*>(data), size);
  const bool stays = StaysInTransaction(input);
  FUZZ_CHECK(!stays || !HasOnlyBlanks(input));
  // Blanks and comments before it change nothing.
  FUZZ_CHECK(StaysInTransaction(absl::StrCat(kBlanks, input)) == stays);
  FUZZ_CHECK(StaysInTransaction(absl::StrCat("/* COMMIT /* SELECT */ */", input)) == stays);
  FUZZ_CHECK(StaysInTransaction(absl::StrCat("-- COMMIT\n", input)) == stays);
  // Nor does anything inside a comment, whatever it looks like.
  const std::string block = absl::StrCat("/*", WithoutSlashesAndStars(input), "*/");
  const std::string line = absl::StrCat("--", WithoutLineEnds(input), "\n");
  for (const std::string& comment : {block, line, block + line, line + block}) {
    FUZZ_CHECK(StaysInTransaction(comment + kStaying));
    for (const char* ending : kEnding) FUZZ_CHECK(!StaysInTransaction(comment + ending));
  }
  return 0;
}
