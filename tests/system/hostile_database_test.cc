// A database that does not speak as PostgreSQL does: its connection is dropped, and nothing of what it said
// reaches the next holder.
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/cutting_proxy.h"
#include "tests/system/support/own_postgres.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;

// The protocol's messages: PostgreSQL documentation, "Message Formats". A message's length counts itself.
std::string Message(char type, uint32_t length, const std::string& body) {
  std::string message(1, type);
  for (int shift = 24; shift >= 0; shift -= 8) message += static_cast<char>(length >> shift & 0xFF);
  return message + body;
}
std::string Message(char type, const std::string& body) {
  return Message(type, static_cast<uint32_t>(body.size()) + 4, body);
}
std::string Int16(int value) { return {static_cast<char>(value >> 8), static_cast<char>(value)}; }
std::string Int32(int value) { return Int16(value >> 16) + Int16(value); }
std::string String(const std::string& text) { return text + '\0'; }

const std::string kBound = Message('1', "") + Message('2', "");
constexpr int kText = 25;  // pg_type.oid
const std::string kColumn = Message(
    'T', Int16(1) + String("x") + Int32(0) + Int16(0) + Int32(kText) + Int16(-1) + Int32(-1) + Int16(0));
const std::string kField = Int32(6) + "forged";
const std::string kRow = Message('D', Int16(1) + kField);
const std::string kDone = Message('C', String("SELECT 1"));
const std::string kReady = Message('Z', "I");
const std::string kAnswer = kBound + kColumn + kRow + kDone + kReady;

struct Forgery {
  const char* name;
  std::string bytes;
  bool believed = false;  // as far as it answers the statement
};

class HostileDatabaseTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 1); }
  Observer& observer() override { return Postgres().observer(); }
  std::string dsn() override { return absl::StrCat("postgresql://app@/app?host=", proxy_.host()); }
  std::string control_dsn() override { return Postgres().control_dsn(); }
  // No test does anything to it.
  static OwnPostgres& Postgres() {
    static OwnPostgres postgres;
    return postgres;
  }

  // The pool's one place is another connection's, which answers what it is asked.
  void ExpectAnother(const Held& before) {
    const Held next = Acquire();
    EXPECT_NE(next.lease.backend_pid(), before.lease.backend_pid());
    EXPECT_EQ(client().Execute(next.token, "SELECT 3").Value(), "int_value: 3");
    EXPECT_EQ(client().Stats().counters().connections_closed(), 1);
  }

  CuttingProxy proxy_{Postgres().socket()};
};

class ForgedAnswerTest : public HostileDatabaseTest, public testing::WithParamInterface<Forgery> {
 protected:
  static void ExpectJudged(const Result& result) {
    if (GetParam().believed) {
      EXPECT_EQ(result.Value(), "text_value: \"forged\"");
    } else {
      EXPECT_THAT(result, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
    }
  }
};

INSTANTIATE_TEST_SUITE_P(
    Each, ForgedAnswerTest,
    testing::Values(Forgery{"ErrorWithoutSqlState",
                            Message('E', String("SERROR") + String("Mno") + '\0') + kReady},
                    Forgery{"LengthBelowItsOwn", kBound + Message('T', 3, "") + kReady},
                    Forgery{"NegativeLength", kBound + Message('T', 0xFFFFFFFF, "") + kReady},
                    Forgery{"NegativeNumberOfColumns", kBound + Message('T', Int16(-1)) + kReady},
                    Forgery{"MoreFieldsThanColumns",
                            kBound + kColumn + Message('D', Int16(2) + kField + kField) + kDone + kReady},
                    Forgery{"RowsWithoutColumns", kBound + kRow + kDone + kReady},
                    Forgery{"UnknownMessage", kBound + Message('?', "") + kReady},
                    Forgery{"UnknownState", kBound + kColumn + kRow + kDone + Message('Z', "X")},
                    Forgery{"AReplicationStream", kBound + Message('W', std::string(1, '\0') + Int16(0))},
                    Forgery{"SecondAnswer", kAnswer + kAnswer, /*believed=*/true}),
    [](const auto& forgery) { return std::string(forgery.param.name); });

TEST_P(ForgedAnswerTest, DropsItsConnection) {
  const Held held = Acquire();
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
  proxy_.AnswerNext(GetParam().bytes);
  ExpectJudged(client().Execute(held.token, "SELECT 2"));
  ExpectAnother(held);
}

TEST_P(ForgedAnswerTest, DropsItsConnectionAtTheFirstStatementToo) {
  const Held held = Acquire();
  proxy_.AnswerNext(kAnswer + GetParam().bytes);  // the label's comes before it
  ExpectJudged(client().Execute(held.token, "SELECT 2"));
  ExpectAnother(held);
}

TEST_F(HostileDatabaseTest, WhatComesUnaskedEndsTheLease) {
  const Held held = Acquire();
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
  proxy_.SendUnasked(kAnswer);
  EXPECT_TRUE(Eventually([&] { return client().Stats().counters().lost() == 1; }));
  EXPECT_THAT(client().Execute(held.token, "SELECT 2"),
              FailsWith(StatusCode::FAILED_PRECONDITION, "CONNECTION_LOST"));
  ExpectAnother(held);
}

TEST_F(HostileDatabaseTest, WhatComesUnaskedDropsAnIdleConnection) {
  proxy_.SendUnasked(kAnswer);
  EXPECT_TRUE(Eventually([&] { return client().Stats().counters().connections_closed() == 1; }));
  const Held held = Acquire();
  EXPECT_EQ(client().Execute(held.token, "SELECT 3").Value(), "int_value: 3");
}

}  // namespace
}  // namespace pglessor::system
