// WatchEvents over gRPC: what is told, in which order, to whom, and what becomes of one who does not read.
#include <chrono>
#include <csignal>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/operators.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> Types(const std::vector<v1::Event>& events) {
  std::vector<std::string> types;
  for (const v1::Event& event : events) types.push_back(v1::EventType_Name(event.type()).substr(11));
  return types;
}

class WatchTest : public SystemTest {
 protected:
  std::unique_ptr<EventStream> Watch(const v1::WatchEventsRequest& request = {}) {
    return Operators(client()).Watch(request);
  }
  void AcquireAndRelease(const std::string& tenant) {
    v1::AcquireRequest request;
    request.set_tenant(tenant);
    EXPECT_THAT(client().Release(Acquire(request).token), IsOk());
  }
};

TEST_F(WatchTest, ALeasesLifeIsToldInItsOrder) {
  Serve(1, 1);
  const auto watch = Watch();
  v1::AcquireRequest request;
  request.set_tenant("billing");
  request.set_holder("watched");
  const Held held = Acquire(request);
  EXPECT_THAT(client().Execute(held.token, "SELECT 1"), IsOk());
  EXPECT_THAT(client().Renew(held.token), IsOk());
  EXPECT_THAT(client().Release(held.token), IsOk());
  std::vector<v1::Event> events = watch->Until(v1::EVENT_TYPE_CONNECTION_CLEANED);
  // Where the server started long ago, the connection is probed first, and the acquire waits for that.
  std::erase_if(events, [](const v1::Event& event) { return event.connection_id().empty(); });
  ASSERT_THAT(Types(events), ElementsAre("LEASE_GRANTED", "CONNECTION_LEASED", "LEASE_RENEWED", "LEASE_ENDED",
                                         "CONNECTION_RELEASED", "CONNECTION_CLEANED"));
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].sequence(), events[0].sequence() + i);
    EXPECT_EQ(events[i].missed(), 0);
    EXPECT_EQ(events[i].pool(), "default");
    EXPECT_EQ(events[i].connection_id(), held.lease.connection_id());
    EXPECT_EQ(events[i].backend_pid(), held.lease.backend_pid());
    EXPECT_TRUE(events[i].has_event_time());
    EXPECT_THAT(events[i].DebugString(), Not(HasSubstr(held.token)));
  }
  const v1::Event& granted = events[0];
  EXPECT_EQ(granted.lease_id(), held.lease.lease_id());
  EXPECT_EQ(granted.tenant(), "billing");
  EXPECT_EQ(granted.holder(), "watched");
  EXPECT_EQ(granted.fencing_token(), held.lease.fencing_token());
  EXPECT_EQ(granted.end_reason(), v1::END_REASON_UNSPECIFIED);
  EXPECT_EQ(events[3].end_reason(), v1::END_REASON_RELEASED);
  EXPECT_THAT(events[3].metadata(), Contains(testing::Key("held_ms")));
}

TEST_F(WatchTest, AnOperatorsReasonIsTold) {
  Serve(1, 1);
  const auto watch = Watch();
  const Held held = Acquire();
  v1::ExpireRequest expire;
  expire.set_lease_id(held.lease.lease_id());
  expire.set_reason("it leaks");
  EXPECT_THAT(client().Expire(expire), IsOk());
  v1::ResetRequest reset;
  reset.set_pool("default");
  reset.set_reason("new password");
  EXPECT_THAT(client().Reset(reset), IsOk());
  const v1::Event ended = watch->Until(v1::EVENT_TYPE_LEASE_ENDED).back();
  EXPECT_EQ(ended.end_reason(), v1::END_REASON_REVOKED);
  EXPECT_EQ(ended.reason(), "it leaks");
  const v1::Event raised = watch->Until(v1::EVENT_TYPE_POOL_RESET).back();
  EXPECT_EQ(raised.generation(), 2U);
  EXPECT_EQ(raised.reason(), "new password");
  const v1::Event closed = watch->Until(v1::EVENT_TYPE_CONNECTION_CLOSED).back();
  EXPECT_EQ(closed.connection_id(), held.lease.connection_id());
}

TEST_F(WatchTest, FiltersLeaveOutTheRest) {
  Serve(2, 2);
  v1::WatchEventsRequest of_a;
  of_a.set_pool("default");
  of_a.set_tenant("a");
  of_a.add_types(v1::EVENT_TYPE_LEASE_GRANTED);
  of_a.add_types(v1::EVENT_TYPE_LEASE_ENDED);
  const auto watch = Watch(of_a);
  for (const char* const tenant : {"b", "a", "b", "a"}) AcquireAndRelease(tenant);
  std::vector<v1::Event> events;
  for (int i = 0; i < 4; ++i) events.push_back(watch->Next().value_or(v1::Event()));
  EXPECT_THAT(Types(events), ElementsAre("LEASE_GRANTED", "LEASE_ENDED", "LEASE_GRANTED", "LEASE_ENDED"));
  for (const v1::Event& event : events) {
    EXPECT_EQ(event.tenant(), "a");
    EXPECT_EQ(event.missed(), 0);
  }
}

TEST_F(WatchTest, SeveralWatchersSeeTheSameAndAResumedOneTheRest) {
  Serve(1, 1);
  const auto first = Watch();
  const auto second = Watch();
  AcquireAndRelease("a");
  const std::vector<v1::Event> seen = first->Until(v1::EVENT_TYPE_CONNECTION_RELEASED);
  const std::vector<v1::Event> same = second->Until(v1::EVENT_TYPE_CONNECTION_RELEASED);
  ASSERT_EQ(seen.size(), same.size());
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i].DebugString(), same[i].DebugString());

  first->Cancel();
  AcquireAndRelease("b");
  v1::WatchEventsRequest resume;
  resume.set_after_sequence(seen.front().sequence());
  const auto resumed = Watch(resume);
  for (size_t i = 1; i < seen.size(); ++i) {
    EXPECT_EQ(resumed->Next().value_or(v1::Event()).DebugString(), seen[i].DebugString());
  }
  EXPECT_EQ(resumed->Until(v1::EVENT_TYPE_LEASE_GRANTED).back().tenant(), "b");
}

TEST_F(WatchTest, BadRequestsNameTheirField) {
  Serve(1, 1);
  Operators operators(client());
  for (const int type : {0, -1, 23, 1'000'000}) {
    v1::WatchEventsRequest request;
    request.add_types(static_cast<v1::EventType>(type));
    const Outcome refused = operators.WatchInVain(request);
    EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID")) << type;
    EXPECT_THAT(refused.fields, ElementsAre("types"));
  }
  for (const uint64_t sequence : {uint64_t{1'000'000}, UINT64_MAX}) {
    v1::WatchEventsRequest request;
    request.set_after_sequence(sequence);
    const Outcome refused = operators.WatchInVain(request);
    EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID")) << sequence;
    EXPECT_THAT(refused.fields, ElementsAre("after_sequence"));
  }
  v1::WatchEventsRequest nowhere;
  nowhere.set_pool("nowhere");
  EXPECT_THAT(operators.WatchInVain(nowhere), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
}

// One who does not read loses events, is told how many, and costs the others nothing.
TEST_F(WatchTest, ASlowWatcherMissesEventsAndAFastOneNone) {
  constexpr int kRenewals = 8'000;
  Serve(1, 1);
  grpc::ChannelArguments small;
  small.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1024);
  small.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  const auto channel =
      grpc::CreateCustomChannel(server().address(), grpc::InsecureChannelCredentials(), small);
  v1::WatchEventsRequest renewals;
  renewals.add_types(v1::EVENT_TYPE_LEASE_RENEWED);
  const auto slow = Operators(channel).Watch(renewals);
  const auto fast = Watch(renewals);
  std::thread reader([&] {
    for (int i = 0; i < kRenewals; ++i) {
      const std::optional<v1::Event> event = fast->Next();
      ASSERT_TRUE(event.has_value());
      ASSERT_EQ(event->missed(), 0);
    }
  });
  const Held held = Acquire();
  for (int i = 0; i < kRenewals; ++i) ASSERT_THAT(client().Renew(held.token), IsOk());
  reader.join();

  int64_t told = 0, missed = 0;
  uint64_t last = 0;
  // Two events were the grant's, and not of the type.
  while (last < kRenewals + 2) {
    const std::optional<v1::Event> event = slow->Next();
    ASSERT_TRUE(event.has_value());
    EXPECT_GT(event->sequence(), last);
    last = event->sequence();
    ++told;
    missed += event->missed();
  }
  EXPECT_GT(missed, 0);
  EXPECT_EQ(told + missed, kRenewals);
}

TEST_F(WatchTest, ADrainIsToldToItsEnd) {
  Serve(1, 1, {"--drain-timeout=1h"});
  const Held held = Acquire();
  const auto watch = Watch();
  server().process().Signal(SIGTERM);
  const v1::Event drain = watch->Until(v1::EVENT_TYPE_DRAIN_STARTED).back();
  EXPECT_EQ(drain.pool(), "");
  EXPECT_THAT(client().Release(held.token), IsOk());
  const v1::Event closed = watch->Until(v1::EVENT_TYPE_CONNECTION_CLOSED).back();
  EXPECT_EQ(closed.connection_id(), held.lease.connection_id());
  EXPECT_EQ(watch->Next(), std::nullopt);
  EXPECT_THAT(watch->End(), FailsWith(StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST_F(WatchTest, WatchersComeAndGo) {
  Serve(1, 1);
  for (int i = 0; i < 50; ++i) {
    const auto watch = Watch();
    const auto other = Watch();
    AcquireAndRelease(absl::StrCat("t", i));
    EXPECT_EQ(watch->Until(v1::EVENT_TYPE_LEASE_GRANTED).back().tenant(), absl::StrCat("t", i));
  }
}

}  // namespace
}  // namespace pglessor::system
