#include "server/rpc/convert.h"

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/toy_token_key.h"

namespace pglessor::rpc {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;
using testing::Pair;
using testing::UnorderedElementsAre;

constexpr int64_t kMostSeconds = std::numeric_limits<int64_t>::max();

google::protobuf::Duration Span(int64_t seconds, int32_t nanos = 0) {
  google::protobuf::Duration span;
  span.set_seconds(seconds);
  span.set_nanos(nanos);
  return span;
}

// --- durations and times -------------------------------------------------------------------------

TEST(Convert, ReadsDurations) {
  const struct {
    int64_t seconds;
    int32_t nanos;
    core::Duration expected;
  } cases[] = {
      {0, 0, 0ns},
      {0, 1, 1ns},
      {0, 999'999'999, 999'999'999ns},
      {1, 500'000'000, 1500ms},
      {3600, 0, 1h},
      {9'223'372'035, 999'999'999, core::Duration(9'223'372'035'999'999'999)},
      // From here on nanoseconds do not suffice to count it.
      {9'223'372'036, 0, core::Duration::max()},
      {9'223'372'037, 999'999'999, core::Duration::max()},
      {315'576'000'000, 999'999'999, core::Duration::max()},
  };
  for (const auto& c : cases) {
    const auto span = FromProto(Span(c.seconds, c.nanos), "f");
    ASSERT_THAT(span, IsOk()) << c.seconds << "." << c.nanos;
    EXPECT_EQ(span->count(), c.expected.count()) << c.seconds << "." << c.nanos;
  }
}

TEST(Convert, RefusesDurationsThatAreNegativeTooLongOrNotNormalised) {
  const std::pair<int64_t, int32_t> cases[] = {
      {-1, 0},
      {0, -1},
      {-1, -1},
      {1, -1},
      {-1, 1},
      {0, 1'000'000'000},
      {0, std::numeric_limits<int32_t>::max()},
      {0, std::numeric_limits<int32_t>::min()},
      {315'576'000'001, 0},
      {kMostSeconds, 0},
      {kMostSeconds, 999'999'999},
      {kMostSeconds, 1'000'000'000},
      {std::numeric_limits<int64_t>::min(), 0},
  };
  for (const auto& [seconds, nanos] : cases) {
    const auto span = FromProto(Span(seconds, nanos), "older_than");
    EXPECT_THAT(span, HasReason("FIELD_INVALID")) << seconds << "." << nanos;
    EXPECT_EQ(test::MetadataOf(span.status(), "field"), "older_than");
  }
}

TEST(Convert, TakesATtlOfOneNanosecondAndNoneOfZero) {
  EXPECT_THAT(TtlFromProto(Span(0, 1)), IsOk());
  EXPECT_THAT(TtlFromProto(Span(0)), HasReason("FIELD_INVALID"));
  EXPECT_EQ(test::MetadataOf(TtlFromProto(Span(0)).status(), "field"), "ttl");
  EXPECT_EQ(*TtlFromProto(Span(300'000'000'000)), core::Duration::max());
}

TEST(Convert, WritesDurationsNormalised) {
  const struct {
    core::Duration span;
    int64_t seconds;
    int32_t nanos;
  } cases[] = {{0ns, 0, 0},
               {1ns, 0, 1},
               {1500ms, 1, 500'000'000},
               {-1500ms, -1, -500'000'000},
               {-1ns, 0, -1},
               {core::Duration::max(), 9'223'372'036, 854'775'807},
               {core::Duration::min(), -9'223'372'036, -854'775'808}};
  for (const auto& c : cases) {
    EXPECT_EQ(ToProto(c.span).seconds(), c.seconds) << c.span.count();
    EXPECT_EQ(ToProto(c.span).nanos(), c.nanos) << c.span.count();
  }
}

TEST(Convert, ReadsBackTheDurationsThatItWrites) {
  for (const core::Duration span : {core::Duration(0ns), core::Duration(1ns), core::Duration(1500ms),
                                    core::Duration(24h), core::Duration(9'223'372'035'999'999'999)}) {
    EXPECT_EQ(FromProto(ToProto(span), "f")->count(), span.count());
  }
}

TEST(Convert, WritesTimesWithNanosThatCountForwardEvenBefore1970) {
  const struct {
    core::Duration since_1970;
    int64_t seconds;
    int32_t nanos;
  } cases[] = {{0ns, 0, 0},
               {1'700'000'000'123'456'789ns, 1'700'000'000, 123'456'789},
               {-1ns, -1, 999'999'999},
               {-1500ms, -2, 500'000'000}};
  for (const auto& c : cases) {
    const auto time = ToProto(core::WallTime(c.since_1970));
    EXPECT_EQ(time.seconds(), c.seconds);
    EXPECT_EQ(time.nanos(), c.nanos);
  }
}

// --- small ones ----------------------------------------------------------------------------------

TEST(Convert, KnowsItsDispositionsAndNoOthers) {
  EXPECT_EQ(*FromProto(v1::DISPOSITION_UNSPECIFIED), core::Disposition::kReturn);
  EXPECT_EQ(*FromProto(v1::DISPOSITION_RETURN), core::Disposition::kReturn);
  EXPECT_EQ(*FromProto(v1::DISPOSITION_DISCARD), core::Disposition::kDiscard);
  for (const int unknown : {-1, 3, std::numeric_limits<int>::max()}) {
    const auto disposition = FromProto(static_cast<v1::Disposition>(unknown));
    EXPECT_THAT(disposition, HasReason("FIELD_INVALID"));
    EXPECT_EQ(test::MetadataOf(disposition.status(), "field"), "disposition");
  }
}

TEST(Convert, BoundsAReasonAt256Bytes) {
  EXPECT_THAT(CheckReason(""), IsOk());
  EXPECT_THAT(CheckReason(std::string(256, 'r')), IsOk());
  EXPECT_THAT(CheckReason(std::string(257, 'r')), HasReason("FIELD_INVALID"));
}

// --- leases and pools ----------------------------------------------------------------------------

class ConvertViewTest : public testing::Test {
 protected:
  v1::Lease Shown(const core::LeaseView& lease) const {
    v1::Lease proto;
    ToProto(lease, lessor_, proto);
    return proto;
  }

  test::FakeClock clock_;
  test::ToyTokenKey key_;
  core::Events events_;
  core::Lessor lessor_{{{"replica", 0xab}, "10.0.0.1:7432", {}}, clock_, key_, events_};
};

core::LeaseView SomeLease() {
  core::LeaseView lease;
  lease.grant.counter = {7};
  lease.grant.pool = "orders";
  lease.grant.terms = {"billing", "me", 30s, core::Priority::kHigh, {{"job", "nightly"}}};
  lease.grant.connection = {3};
  lease.grant.connection_opened = core::WallTime(std::chrono::seconds(1'700'000'000));
  lease.grant.backend_pid = 4711;
  lease.grant.fencing_token = {(uint64_t{1} << 63) + 5};
  lease.grant.acquired_wall = core::WallTime(1'700'000'000s);
  lease.grant.waited = 12ms;
  lease.ttl = 45s;
  lease.expire_wall = core::WallTime(1'700'000'045s);
  return lease;
}

TEST_F(ConvertViewTest, ShowsAWholeLease) {
  const v1::Lease lease = Shown(SomeLease());
  EXPECT_EQ(lease.lease_id(), "replica-00000000000000ab-7");
  EXPECT_EQ(lease.pool(), "orders");
  EXPECT_EQ(lease.tenant(), "billing");
  EXPECT_EQ(lease.holder(), "me");
  EXPECT_EQ(lease.state(), v1::LEASE_STATE_ACTIVE);
  EXPECT_EQ(lease.end_reason(), v1::END_REASON_UNSPECIFIED);
  EXPECT_EQ(lease.connection_id(), "conn_3_1700000000000000000");
  EXPECT_EQ(lease.backend_pid(), 4711);
  EXPECT_EQ(lease.fencing_token(), (uint64_t{1} << 63) + 5);
  EXPECT_EQ(lease.acquire_time().seconds(), 1'700'000'000);
  EXPECT_EQ(lease.expire_time().seconds(), 1'700'000'045);
  EXPECT_EQ(lease.ttl().seconds(), 45);  // the one in effect, not the one first granted
  EXPECT_EQ(lease.renew_after().seconds(), 15);
  EXPECT_EQ(lease.waited().nanos(), 12'000'000);
  EXPECT_EQ(lease.priority(), v1::PRIORITY_HIGH);
  EXPECT_THAT(lease.tags(), UnorderedElementsAre(Pair("job", "nightly")));
  EXPECT_EQ(lease.server_address(), "10.0.0.1:7432");
  EXPECT_EQ(lease.gateway_address(), "");
}

TEST_F(ConvertViewTest, ShowsEveryStateOfALease) {
  const std::pair<core::LeaseState, v1::LeaseState> states[] = {
      {core::LeaseState::kActive, v1::LEASE_STATE_ACTIVE},
      {core::LeaseState::kEnding, v1::LEASE_STATE_ENDING},
      {core::LeaseState::kEnded, v1::LEASE_STATE_ENDED}};
  for (const auto& [core_state, state] : states) {
    core::LeaseView lease = SomeLease();
    lease.state = core_state;
    EXPECT_EQ(Shown(lease).state(), state);
  }
}

TEST_F(ConvertViewTest, ShowsEveryEndReason) {
  using enum core::EndReason;
  const std::pair<core::EndReason, v1::EndReason> reasons[] = {
      {kReleased, v1::END_REASON_RELEASED},
      {kExpired, v1::END_REASON_EXPIRED},
      {kRevoked, v1::END_REASON_REVOKED},
      {kPoolReset, v1::END_REASON_POOL_RESET},
      {kConnectionLost, v1::END_REASON_CONNECTION_LOST},
      {kDrained, v1::END_REASON_DRAINED},
      {kUnclaimed, v1::END_REASON_UNCLAIMED}};
  EXPECT_EQ(std::size(reasons), core::kEndReasons);
  for (const auto& [core_reason, reason] : reasons) {
    core::LeaseView lease = SomeLease();
    lease.end_reason = core_reason;
    EXPECT_EQ(Shown(lease).end_reason(), reason);
  }
}

TEST_F(ConvertViewTest, CountsEachEndReasonInItsOwnField) {
  core::PoolView pool;
  for (size_t i = 0; i < core::kEndReasons; ++i) {
    pool.snapshot.counters.ended[i] = 100 + static_cast<int64_t>(i);
  }
  const auto count = [](core::EndReason reason) { return 100 + static_cast<int64_t>(reason); };
  const v1::Counters counters = ToProto(pool, lessor_, true).counters();
  EXPECT_EQ(counters.released(), count(core::EndReason::kReleased));
  EXPECT_EQ(counters.expired(), count(core::EndReason::kExpired));
  EXPECT_EQ(counters.revoked(), count(core::EndReason::kRevoked));
  EXPECT_EQ(counters.reset(), count(core::EndReason::kPoolReset));
  EXPECT_EQ(counters.lost(), count(core::EndReason::kConnectionLost));
  EXPECT_EQ(counters.drained(), count(core::EndReason::kDrained));
  EXPECT_EQ(counters.unclaimed(), count(core::EndReason::kUnclaimed));
}

TEST_F(ConvertViewTest, CountsEachSlotStateInItsOwnField) {
  core::PoolView pool;
  pool.options = {.name = "orders", .min_connections = 3, .max_connections = 30};
  for (size_t i = 0; i < core::kSlotStates; ++i) pool.snapshot.slots_in[i] = 1 << i;
  pool.snapshot.total = 63;
  pool.snapshot.waiting = 9;
  const auto count = [](core::SlotState state) { return 1 << static_cast<int>(state); };
  const v1::PoolStats stats = ToProto(pool, lessor_, true);
  EXPECT_EQ(stats.pool(), "orders");
  EXPECT_EQ(stats.min_connections(), 3);
  EXPECT_EQ(stats.max_connections(), 30);
  EXPECT_EQ(stats.total(), 63);
  EXPECT_EQ(stats.waiting(), 9);
  EXPECT_EQ(stats.opening(), count(core::SlotState::kOpening));
  EXPECT_EQ(stats.available(), count(core::SlotState::kAvailable));
  EXPECT_EQ(stats.in_use(), count(core::SlotState::kInUse));
  EXPECT_EQ(stats.cleaning(), count(core::SlotState::kCleaning));
  EXPECT_EQ(stats.retiring(), count(core::SlotState::kRetiring));
  EXPECT_EQ(stats.stuck(), count(core::SlotState::kStuck));
}

}  // namespace
}  // namespace pglessor::rpc
