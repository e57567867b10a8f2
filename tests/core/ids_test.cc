#include "server/core/ids.h"

#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pglessor::core {
namespace {

using testing::Eq;
using testing::Optional;

const LeaseId kId{{"eu-west.1_a", 0x00000000deadbeef}, {42}};

TEST(ConnectionId, NamesIndexAndNanoseconds) {
  EXPECT_EQ(FormatConnectionId({7}, WallTime(Duration(1'700'000'000'000'000'001))),
            "conn_7_1700000000000000001");
}

TEST(LeaseId, IsReplicaBootAndCounter) { EXPECT_EQ(FormatLeaseId(kId), "eu-west.1_a-00000000deadbeef-42"); }

TEST(LeaseId, ReadsBackWhatItWrote) {
  for (const std::string name : {"a", "a-b", "a-1-2", "0000000000000000-1", "x--y"}) {
    for (const uint64_t boot : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
      for (const uint64_t counter : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
        const LeaseId id{{name, boot}, {counter}};
        EXPECT_THAT(ParseLeaseId(FormatLeaseId(id)), Optional(id)) << FormatLeaseId(id);
      }
    }
  }
}

TEST(LeaseId, RefusesWhateverItWouldNotWrite) {
  for (const std::string text : {
           "",
           "-",
           "--",
           "a",
           "a-1",
           "a-00000000deadbeef",
           "-00000000deadbeef-42",                     // no name
           "a--42",                                    // no boot
           "a-00000000deadbeef-",                      // no counter
           "a-00000000deadbeef--42",                   // a sign
           "a-00000000deadbeef-+42",                   //
           "a-00000000deadbeef-042",                   // a leading zero
           "a-00000000deadbeef- 42",                   // a blank
           "a-00000000deadbeef-42 ",                   //
           "a-00000000deadbeef-42\n",                  //
           "a-00000000deadbeef-4x",                    //
           "a-00000000deadbeef-18446744073709551616",  // 2^64
           "a-00000000DEADBEEF-42",                    // upper case
           "a-deadbeef-42",                            // too short
           "a-0x000000deadbeef-42",                    //
           "a-000000000deadbeef-42",                   // too long
           "a-1ffffffffffffffff-42",                   // 2^64 and more
           "a-g0000000deadbeef-42",                    //
       }) {
    EXPECT_THAT(ParseLeaseId(text), Eq(std::nullopt)) << '"' << text << '"';
  }
  EXPECT_THAT(ParseLeaseId(absl::string_view("a-00000000deadbeef-42\0", 22)), Eq(std::nullopt));
}

TEST(LeaseId, OfAnotherRunOrReplicaIsAnother) {
  EXPECT_NE(kId, (LeaseId{{kId.replica.name, kId.replica.boot + 1}, kId.counter}));
  EXPECT_NE(kId, (LeaseId{{"other", kId.replica.boot}, kId.counter}));
  EXPECT_NE(kId, (LeaseId{kId.replica, {kId.counter.value + 1}}));
}

}  // namespace
}  // namespace pglessor::core
