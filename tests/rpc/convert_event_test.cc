#include "server/rpc/convert_event.h"

#include <chrono>
#include <memory>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/toy_token_key.h"

namespace pglessor::rpc {
namespace {

using namespace std::chrono_literals;
using core::EventType;
using test::HasReason;
using test::IsOk;
using testing::Pair;
using testing::UnorderedElementsAre;

class ConvertEventTest : public testing::Test {
 protected:
  static core::EventWatch::Next Numbered(core::Event event, int64_t missed = 0) {
    return {std::make_shared<const core::NumberedEvent>(
                core::NumberedEvent{9, core::WallTime(1'500'000'000ns), std::move(event)}),
            missed};
  }

  test::FakeClock clock_;
  test::ToyTokenKey key_;
  core::Events events_;
  core::Lessor lessor_{{{"replica", 7}, "here:1", {}}, clock_, key_, events_};
};

TEST_F(ConvertEventTest, AnEventCarriesAllThatIsKnown) {
  core::Event event;
  event.type = EventType::kLeaseEnded;
  event.pool = "default";
  event.connection_id = "conn_1_2";
  event.backend_pid = 4711;
  event.lease = core::LeaseCounter{3};
  event.tenant = "t";
  event.holder = "h";
  event.reason = "broken \xff text";
  event.end_reason = core::EndReason::kRevoked;
  event.fencing_token = core::FencingToken{77};
  event.generation = 2;
  event.age = 1500us;
  event.held = 2s;
  event.waited = 0ns;
  event.total = 4;
  event.max = 5;
  event.breaker = core::BreakerState::kHalfOpen;
  event.tags = {{"job", "x"}};
  const v1::Event proto = ToProto(Numbered(event, 6), lessor_);
  EXPECT_EQ(proto.sequence(), 9U);
  EXPECT_EQ(proto.event_time().seconds(), 1);
  EXPECT_EQ(proto.event_time().nanos(), 500'000'000);
  EXPECT_EQ(proto.type(), v1::EVENT_TYPE_LEASE_ENDED);
  EXPECT_EQ(proto.pool(), "default");
  EXPECT_EQ(proto.connection_id(), "conn_1_2");
  EXPECT_EQ(proto.lease_id(), "replica-0000000000000007-3");
  EXPECT_EQ(proto.tenant(), "t");
  EXPECT_EQ(proto.holder(), "h");
  EXPECT_EQ(proto.reason(), "broken \xef\xbf\xbd text");
  EXPECT_THAT(proto.metadata(),
              UnorderedElementsAre(Pair("age_ms", "1.5"), Pair("held_ms", "2000"), Pair("waited_ms", "0"),
                                   Pair("total", "4"), Pair("max", "5"), Pair("tag.job", "x")));
  EXPECT_EQ(proto.missed(), 6);
  EXPECT_EQ(proto.backend_pid(), 4711);
  EXPECT_EQ(proto.generation(), 2U);
  EXPECT_EQ(proto.fencing_token(), 77U);
  EXPECT_EQ(proto.end_reason(), v1::END_REASON_REVOKED);
  EXPECT_EQ(proto.breaker(), v1::BREAKER_STATE_HALF_OPEN);

  const v1::Event bare = ToProto(Numbered({.type = EventType::kDrainStarted}), lessor_);
  EXPECT_EQ(bare.lease_id(), "");
  EXPECT_TRUE(bare.metadata().empty());
  EXPECT_EQ(bare.end_reason(), v1::END_REASON_UNSPECIFIED);
}

TEST_F(ConvertEventTest, EveryTypeHasItsOwnButTheTwoEndsOfALease) {
  std::set<v1::EventType> protos;
  for (int type = 0; type <= static_cast<int>(EventType::kDrainStarted); ++type) {
    protos.insert(ToProto(static_cast<EventType>(type)));
  }
  EXPECT_EQ(protos.size(), static_cast<size_t>(EventType::kDrainStarted));  // of one more
  EXPECT_EQ(ToProto(EventType::kLeaseReleased), ToProto(EventType::kLeaseEnded));
  EXPECT_EQ(protos.count(v1::EVENT_TYPE_UNSPECIFIED), 0U);
}

TEST_F(ConvertEventTest, AFilterByTypesWantsThoseAndNoOthers) {
  v1::WatchEventsRequest request;
  EXPECT_FALSE(FromProto(request)->types.has_value());
  for (int type = v1::EventType_MIN + 1; type <= v1::EventType_MAX; ++type) {
    request.clear_types();
    request.add_types(static_cast<v1::EventType>(type));
    const auto filter = FromProto(request);
    ASSERT_THAT(filter, IsOk()) << type;
    ASSERT_TRUE(filter->types.has_value()) << type;
    for (const EventType wanted : *filter->types) EXPECT_EQ(ToProto(wanted), type);
  }
  request.add_types(v1::EVENT_TYPE_LEASE_ENDED);
  request.add_types(v1::EVENT_TYPE_DRAIN_STARTED);
  EXPECT_EQ(FromProto(request)->types->size(), 4U);  // a lease ends in two ways; the drain twice
}

TEST_F(ConvertEventTest, MoreTypesThanThereAreAreRefused) {
  v1::WatchEventsRequest request;
  for (int i = 0; i <= v1::EventType_ARRAYSIZE; ++i) request.add_types(v1::EVENT_TYPE_POOL_PAUSED);
  EXPECT_THAT(FromProto(request), HasReason("FIELD_INVALID"));
}

TEST_F(ConvertEventTest, UnknownTypesAreRefused) {
  for (const int type : {0, -1, v1::EventType_MAX + 1, 1'000'000}) {
    v1::WatchEventsRequest request;
    request.add_types(v1::EVENT_TYPE_LEASE_GRANTED);
    request.add_types(static_cast<v1::EventType>(type));
    const auto refused = FromProto(request);
    EXPECT_THAT(refused, HasReason("FIELD_INVALID")) << type;
    EXPECT_EQ(test::MetadataOf(refused.status(), "field"), "types");
  }
}

}  // namespace
}  // namespace pglessor::rpc
