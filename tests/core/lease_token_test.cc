#include "server/core/lease_token.h"

#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/toy_token_key.h"

namespace pglessor::core {
namespace {

using test::ToyTokenKey;
using testing::Eq;
using testing::MatchesRegex;
using testing::Optional;

const ToyTokenKey kKey{1};
const TokenClaims kClaims{{{"replica-a", 0x0123456789abcdef}, {77}}, "billing", "10.0.0.1:7432"};

// A token whose body is whatever the test makes up, with a true mac.
std::string Signed(const std::string& body) {
  const TokenKey::Mac mac = kKey.Sign(absl::StrCat("pglessor-lease-v1", body));
  return absl::WebSafeBase64Escape(absl::StrCat(body, std::string(mac.begin(), mac.end())));
}

std::string Part(const std::string& text) {
  return absl::StrCat(std::string(1, static_cast<char>(text.size() >> 8)),
                      std::string(1, static_cast<char>(text.size() & 0xff)), text);
}

TEST(LeaseToken, ReadsBackWhatItWrote) {
  EXPECT_THAT(DecodeLeaseToken(EncodeLeaseToken(kClaims, kKey), kKey), Optional(kClaims));
}

TEST(LeaseToken, ReadsBackEmptyAndStrangeTexts) {
  for (const std::string& text : {std::string(), std::string("\0\n\xff", 3), std::string(300, 'x')}) {
    TokenClaims claims = kClaims;
    claims.tenant = text;
    claims.server_address = text;
    EXPECT_THAT(DecodeLeaseToken(EncodeLeaseToken(claims, kKey), kKey), Optional(claims));
  }
}

TEST(LeaseToken, IsTheSameEachTime) {
  EXPECT_EQ(EncodeLeaseToken(kClaims, kKey), EncodeLeaseToken(kClaims, kKey));
}

TEST(LeaseToken, IsUnpaddedBase64Url) {
  for (size_t length = 0; length < 6; ++length) {
    TokenClaims claims = kClaims;
    claims.tenant = std::string(length, '?');
    EXPECT_THAT(EncodeLeaseToken(claims, kKey), MatchesRegex("[A-Za-z0-9_-]+"));
  }
}

TEST(LeaseToken, DiffersInEachClaim) {
  const std::string token = EncodeLeaseToken(kClaims, kKey);
  TokenClaims other = kClaims;
  other.lease.counter.value++;
  EXPECT_NE(EncodeLeaseToken(other, kKey), token);
  other = kClaims;
  other.lease.replica.boot++;
  EXPECT_NE(EncodeLeaseToken(other, kKey), token);
  other = kClaims;
  other.tenant += "x";
  EXPECT_NE(EncodeLeaseToken(other, kKey), token);
  // A byte that moves from one claim to the next is another token, mac and all.
  TokenClaims moved = kClaims;
  moved.tenant = "billing1";
  moved.server_address = "0.0.0.1:7432";
  EXPECT_THAT(DecodeLeaseToken(EncodeLeaseToken(moved, kKey), kKey), Optional(moved));
}

// S8: of the bytes ...
TEST(LeaseToken, IsRefusedWithAnyOneBitOfItsBytesChanged) {
  std::string bytes;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(EncodeLeaseToken(kClaims, kKey), &bytes));
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    std::string changed = bytes;
    changed[i / 8] = static_cast<char>(changed[i / 8] ^ (1 << (i % 8)));
    EXPECT_THAT(DecodeLeaseToken(absl::WebSafeBase64Escape(changed), kKey), Eq(std::nullopt)) << i;
  }
}

// ... and of the text, where the last letter has bits that mean nothing.
TEST(LeaseToken, IsRefusedWithAnyOneBitOfItsTextChanged) {
  for (size_t length = 0; length < 3; ++length) {
    TokenClaims claims = kClaims;
    claims.tenant = std::string(length, 'a');
    const std::string token = EncodeLeaseToken(claims, kKey);
    for (size_t i = 0; i < token.size() * 8; ++i) {
      std::string changed = token;
      changed[i / 8] = static_cast<char>(changed[i / 8] ^ (1 << (i % 8)));
      EXPECT_THAT(DecodeLeaseToken(changed, kKey), Eq(std::nullopt)) << i;
    }
  }
}

TEST(LeaseToken, IsRefusedTruncatedAtAnyLength) {
  const std::string token = EncodeLeaseToken(kClaims, kKey);
  for (size_t length = 0; length < token.size(); ++length) {
    EXPECT_THAT(DecodeLeaseToken(token.substr(0, length), kKey), Eq(std::nullopt)) << length;
  }
}

TEST(LeaseToken, IsRefusedWithAnythingAroundIt) {
  for (size_t length = 0; length < 3; ++length) {
    TokenClaims claims = kClaims;
    claims.tenant = std::string(length, 'a');
    const std::string token = EncodeLeaseToken(claims, kKey);
    for (const std::string extra : {"=", "==", ".", " ", "\n", "A", "AAAA"}) {
      EXPECT_THAT(DecodeLeaseToken(token + extra, kKey), Eq(std::nullopt)) << '"' << extra << '"';
      EXPECT_THAT(DecodeLeaseToken(extra + token, kKey), Eq(std::nullopt)) << '"' << extra << '"';
    }
    EXPECT_THAT(DecodeLeaseToken(token.substr(0, 9) + "\n" + token.substr(9), kKey), Eq(std::nullopt));
    EXPECT_THAT(DecodeLeaseToken(token + std::string(1, '\0'), kKey), Eq(std::nullopt));
  }
}

TEST(LeaseToken, IsRefusedInTheOtherBase64Alphabet) {
  TokenClaims claims = kClaims;
  claims.tenant = "\xff\xff\xff\xff\xff\xff";
  std::string token = EncodeLeaseToken(claims, kKey);
  ASSERT_TRUE(absl::StrContains(token, '_'));
  for (char& c : token) c = c == '_' ? '/' : c == '-' ? '+' : c;
  EXPECT_THAT(DecodeLeaseToken(token, kKey), Eq(std::nullopt));
}

TEST(LeaseToken, IsRefusedByAForeignKey) {
  EXPECT_THAT(DecodeLeaseToken(EncodeLeaseToken(kClaims, kKey), ToyTokenKey(2)), Eq(std::nullopt));
}

TEST(LeaseToken, IsRefusedOverItsLongestLength) {
  TokenClaims claims = kClaims;
  claims.tenant = std::string(kMaxTokenLength, 'x');
  EXPECT_THAT(DecodeLeaseToken(EncodeLeaseToken(claims, kKey), kKey), Eq(std::nullopt));
  EXPECT_THAT(DecodeLeaseToken(std::string(100'000'000, 'A'), kKey), Eq(std::nullopt));
}

// The mac says that we wrote it, and yet not everything that we could have written is a token.
TEST(LeaseToken, IsRefusedWhereItsBodyIsNotOneOfOurs) {
  const std::string id = FormatLeaseId(kClaims.lease);
  const std::string good = absl::StrCat("\x01", Part(id), Part("t"), Part("a"));
  ASSERT_TRUE(DecodeLeaseToken(Signed(good), kKey).has_value()) << "else the rest proves nothing";
  for (const std::string& body :
       {std::string(), std::string("\x01"), std::string("\x02") + good.substr(1), good + "x",
        good.substr(0, good.size() - 1), absl::StrCat("\x01", Part(id), Part("t")),
        absl::StrCat("\x01", Part("not-an-id"), Part("t"), Part("a")),
        absl::StrCat("\x01", Part(""), Part("t"), Part("a")), std::string("\x01\xff\xff", 3)}) {
    EXPECT_THAT(DecodeLeaseToken(Signed(body), kKey), Eq(std::nullopt)) << absl::CEscape(body);
  }
}

}  // namespace
}  // namespace pglessor::core
