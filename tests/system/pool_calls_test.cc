// What operators ask with Expire, Renew and Reset beside the usual: what is refused, what is chosen, and
// what comes of it.
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

google::protobuf::Duration Raw(int64_t seconds, int32_t nanos) {
  google::protobuf::Duration span;
  span.set_seconds(seconds);
  span.set_nanos(nanos);
  return span;
}

v1::ExpireRequest LeasesOfPool(const std::string& pool) {
  v1::ExpireRequest request;
  request.mutable_leases()->set_pool(pool);
  return request;
}

v1::ExpireRequest ConnectionsOlderThan(std::chrono::nanoseconds age) {
  v1::ExpireRequest request;
  request.mutable_connections()->set_pool("default");
  *request.mutable_connections()->mutable_older_than() = Span(age);
  return request;
}

v1::RenewRequest RenewTo(int target) {
  v1::RenewRequest request;
  request.mutable_pool()->set_pool("default");
  request.mutable_pool()->set_target(target);
  return request;
}

class PoolCallsTest : public SystemTest {
 protected:
  Held AcquireTagged(const std::string& tenant, const std::string& job) {
    v1::AcquireRequest request;
    request.set_tenant(tenant);
    (*request.mutable_tags())["job"] = job;
    (*request.mutable_tags())["host"] = "one";
    return Acquire(request);
  }
  bool Lives(const Held& held) { return client().Execute(held.token, "SELECT 1").ok(); }
  void ExpectRevoked(const Held& held) {
    const auto revoked = FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_REVOKED");
    EXPECT_THAT(client().Execute(held.token, "SELECT 1"), revoked);
    EXPECT_THAT(client().Renew(held.token), revoked);
    EXPECT_THAT(client().Release(held.token), revoked);
  }
};

TEST_F(PoolCallsTest, FaultsNameTheFieldAndChangeNothing) {
  Serve(1, 2);
  const Held held = Acquire();
  const uint64_t generation = client().Stats().generation();
  const std::string too_long(257, 'r');
  const int64_t most = std::numeric_limits<int64_t>::max();

  using Request = v1::ExpireRequest;
  const auto held_longer = [](const google::protobuf::Duration& span) {
    return [=](Request& request) { *request.mutable_leases()->mutable_held_longer_than() = span; };
  };
  const auto older = [](const google::protobuf::Duration& span) {
    return [=](Request& request) {
      request = ConnectionsOlderThan(seconds(0));
      *request.mutable_connections()->mutable_older_than() = span;
    };
  };
  struct ExpireFault {
    const char* field;
    std::function<void(Request&)> make;
  };
  const ExpireFault expires[] = {
      {"leases", [](Request& request) { request.mutable_leases(); }},
      {"leases.held_longer_than", held_longer(Raw(-1, 0))},
      {"leases.held_longer_than", held_longer(Raw(0, -1))},
      {"leases.held_longer_than", held_longer(Raw(0, 1'000'000'000))},
      {"leases.held_longer_than", held_longer(Raw(most, 0))},
      {"connections.pool", [](Request& request) { request.mutable_connections(); }},
      {"connections.older_than", older(Raw(-1, 0))},
      {"connections.older_than", older(Raw(1, -1))},
      {"connections.older_than", older(Raw(0, 1'000'000'000))},
      {"connections.older_than", older(Raw(most, 0))},
      {"reason",
       [&](Request& request) {
         request.set_lease_token(held.token);
         request.set_reason(too_long);
       }},
      {"reason",
       [&](Request& request) {
         request = LeasesOfPool("default");
         request.set_reason(too_long);
       }},
  };
  for (const ExpireFault& fault : expires) {
    Request request;
    fault.make(request);
    SCOPED_TRACE(request.ShortDebugString());
    const auto refused = client().Expire(request);
    EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
    EXPECT_THAT(refused.fields, ElementsAre(fault.field));
  }

  const auto reset = [&](const std::string& pool, int mode, const std::string& reason) {
    v1::ResetRequest request;
    request.set_pool(pool);
    request.set_mode(static_cast<v1::ResetMode>(mode));
    request.set_reason(reason);
    return client().Reset(request);
  };
  const auto renew = [&](const std::string& pool, int target) {
    v1::RenewRequest request = RenewTo(target);
    request.mutable_pool()->set_pool(pool);
    return client().Renew(request);
  };
  const std::pair<Outcome, const char*> others[] = {
      {reset("", 1, ""), "pool"},
      {reset("default", 3, ""), "mode"},
      {reset("default", -1, ""), "mode"},
      {reset("default", 2, too_long), "reason"},
      {renew("", 0), "pool.pool"},
      {renew("default", -1), "pool.target"},
      {renew("default", std::numeric_limits<int32_t>::min()), "pool.target"},
  };
  for (const auto& [refused, field] : others) {
    EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID")) << field;
    EXPECT_THAT(refused.fields, ElementsAre(field));
  }

  EXPECT_TRUE(Lives(held));
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.generation(), generation);
  EXPECT_EQ(stats.counters().connections_closed(), 0);
  EXPECT_EQ(stats.total(), 1);
}

TEST_F(PoolCallsTest, AnUnknownPool) {
  Serve(1, 1);
  const auto not_found = FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND");
  for (const std::string& name : {std::string("nowhere"), std::string("DEFAULT"), std::string("default "),
                                  std::string("../default"), std::string(65'000, 'p')}) {
    SCOPED_TRACE(name.substr(0, 20));
    EXPECT_THAT(client().Expire(LeasesOfPool(name)), not_found);
    v1::ExpireRequest connections = ConnectionsOlderThan(seconds(0));
    connections.mutable_connections()->set_pool(name);
    EXPECT_THAT(client().Expire(connections), not_found);
    connections.set_validate_only(true);
    EXPECT_THAT(client().Expire(connections), not_found);
    v1::RenewRequest renew = RenewTo(0);
    renew.mutable_pool()->set_pool(name);
    EXPECT_THAT(client().Renew(renew), not_found);
    v1::ResetRequest reset;
    reset.set_pool(name);
    EXPECT_THAT(client().Reset(reset), not_found);
  }
}

TEST_F(PoolCallsTest, AReasonThatForgesALineOfTheLogDoesNot) {
  Serve(1, 1, {"--drain-timeout=0s", "--log-level=debug"});
  const Held held = Acquire();
  v1::ExpireRequest expire;
  expire.set_lease_id(held.lease.lease_id());
  const std::string forged = "\nforged line\r\n";
  expire.set_reason(forged + std::string(256 - forged.size(), 'r'));
  EXPECT_EQ(client().Expire(expire).response.leases_ended(), 1) << "256 bytes are allowed";
  EXPECT_TRUE(Eventually([&] { return absl::StrContains(server().Log(), "forged line"); }))
      << "the reason is logged";
  EXPECT_FALSE(absl::StrContains(server().Log(), "\nforged line"));
}

TEST_F(PoolCallsTest, AHolderThatForgesALineOfTheLogDoesNot) {
  Serve(1, 1, {"--drain-timeout=0s", "--log-level=debug"});
  v1::AcquireRequest request;
  request.set_holder("billing\nforged line\x1b[2J");
  EXPECT_THAT(client().Release(Acquire(request).token), IsOk());
  EXPECT_TRUE(Eventually([&] { return absl::StrContains(server().Log(), "forged line"); }))
      << "the holder is logged";
  EXPECT_FALSE(absl::StrContains(server().Log(), "\nforged line"));
  EXPECT_FALSE(absl::StrContains(server().Log(), "\x1b"));
}

TEST_F(PoolCallsTest, ExpireByTenantAndTags) {
  Serve(4, 5);
  const Held a = AcquireTagged("billing", "nightly");
  const Held b = AcquireTagged("billing", "hourly");
  const Held c = AcquireTagged("search", "nightly");

  v1::ExpireRequest nobody;
  nobody.mutable_leases()->set_tenant("billing");
  (*nobody.mutable_leases()->mutable_tags())["job"] = "weekly";
  const auto none = client().Expire(nobody);
  ASSERT_THAT(none, IsOk());
  EXPECT_EQ(none.response.leases_ended(), 0);

  v1::ExpireRequest one;
  one.mutable_leases()->set_tenant("billing");
  (*one.mutable_leases()->mutable_tags())["job"] = "nightly";
  (*one.mutable_leases()->mutable_tags())["host"] = "one";
  EXPECT_THAT(client().Expire(one).response.lease_ids(), ElementsAre(a.lease.lease_id()));
  ExpectRevoked(a);
  EXPECT_TRUE(Lives(b) && Lives(c));
  EXPECT_EQ(client().Expire(one).response.leases_ended(), 0) << "it has ended";

  v1::ExpireRequest tenant;
  tenant.mutable_leases()->set_tenant("search");
  EXPECT_THAT(client().Expire(tenant).response.lease_ids(), ElementsAre(c.lease.lease_id()));
  ExpectRevoked(c);
  EXPECT_TRUE(Lives(b));

  const Held d = AcquireTagged("default", "hourly");
  v1::ExpireRequest tag;
  (*tag.mutable_leases()->mutable_tags())["job"] = "hourly";
  const auto both = client().Expire(tag);
  EXPECT_EQ(both.response.leases_ended(), 2);
  EXPECT_THAT(both.response.lease_ids(), UnorderedElementsAre(b.lease.lease_id(), d.lease.lease_id()));
  ExpectRevoked(b);
  EXPECT_EQ(client().Stats().counters().revoked(), 4);
}

TEST_F(PoolCallsTest, ExpireByHowLongTheyWereHeld) {
  Serve(2, 2);
  constexpr seconds kGap(3);  // longer than this machine ever stops
  const Held old = Acquire();
  const auto since = std::chrono::steady_clock::now();
  ASSERT_TRUE(Eventually([&] { return std::chrono::steady_clock::now() - since > kGap; }));
  const Held young = Acquire();

  v1::ExpireRequest request;
  *request.mutable_leases()->mutable_held_longer_than() = Span(hours(1));
  EXPECT_EQ(client().Expire(request).response.leases_ended(), 0);
  *request.mutable_leases()->mutable_held_longer_than() = Span(kGap);
  EXPECT_THAT(client().Expire(request).response.lease_ids(), ElementsAre(old.lease.lease_id()));
  ExpectRevoked(old);
  EXPECT_TRUE(Lives(young));
  *request.mutable_leases()->mutable_held_longer_than() = Span(seconds(0));
  EXPECT_EQ(client().Expire(request).response.leases_ended(), 1);
  ExpectRevoked(young);
}

TEST_F(PoolCallsTest, ExpireOfManyAnswersWhenNoneOfThemRuns) {
  Serve(5, 5);
  std::vector<Held> held;
  for (int i = 0; i < 5; ++i) held.push_back(Acquire());
  std::vector<std::thread> sleepers;
  for (const Held& one : held) {
    sleepers.emplace_back([&] {
      EXPECT_THAT(client().Execute(one.token, "SELECT pg_sleep(600)"),
                  FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
    });
  }
  for (const Held& one : held) EXPECT_TRUE(observer().AwaitAsleep(one.lease.backend_pid()));
  EXPECT_EQ(client().Expire(LeasesOfPool("default")).response.leases_ended(), 5);
  for (std::thread& sleeper : sleepers) sleeper.join();
  EXPECT_TRUE(AwaitRest());
}

TEST_F(PoolCallsTest, ValidateOnlyChangesNothing) {
  Serve(2, 3);
  ASSERT_TRUE(AwaitRest());
  const Held held = Acquire();
  v1::ExpireRequest by_token;
  by_token.set_lease_token(held.token);
  v1::ExpireRequest by_id;
  by_id.set_lease_id(held.lease.lease_id());
  v1::ExpireRequest connections = ConnectionsOlderThan(seconds(0));
  for (v1::ExpireRequest request : {by_token, by_id, LeasesOfPool("default")}) {
    request.set_validate_only(true);
    const auto would = client().Expire(request);
    ASSERT_THAT(would, IsOk());
    EXPECT_EQ(would.response.leases_ended(), 1);
    EXPECT_THAT(would.response.lease_ids(), ElementsAre(held.lease.lease_id()));
  }
  connections.set_validate_only(true);
  const auto gently = client().Expire(connections);
  ASSERT_THAT(gently, IsOk());
  EXPECT_EQ(gently.response.connections_retired(), 1);
  EXPECT_EQ(gently.response.connections_retiring(), 1);
  EXPECT_EQ(gently.response.leases_ended(), 0);
  connections.mutable_connections()->set_include_leased(true);
  const auto firmly = client().Expire(connections);
  EXPECT_EQ(firmly.response.connections_retired(), 2);
  EXPECT_EQ(firmly.response.connections_retiring(), 0);
  EXPECT_EQ(firmly.response.leases_ended(), 1);
  EXPECT_EQ(firmly.response.connections_opened(), 2);

  EXPECT_TRUE(Lives(held));
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.in_use(), 1);
  EXPECT_EQ(stats.total(), 2);
  EXPECT_EQ(stats.counters().connections_closed(), 0);
  EXPECT_EQ(stats.counters().connections_opened(), 2);
  EXPECT_THAT(client().Release(held.token), IsOk());
  ASSERT_TRUE(AwaitRest());
  const Held again = Acquire();
  EXPECT_EQ(again.lease.connection_id(), held.lease.connection_id()) << "nor does it retire at its release";
}

TEST_F(PoolCallsTest, OldConnectionsRetireAndLeasedOnesAtTheirRelease) {
  Serve(2, 3);
  ASSERT_TRUE(AwaitRest());
  const Held held = Acquire();
  const auto expired = client().Expire(ConnectionsOlderThan(seconds(0)));
  ASSERT_THAT(expired, IsOk());
  EXPECT_EQ(expired.response.connections_retired(), 1);
  EXPECT_EQ(expired.response.connections_retiring(), 1);
  EXPECT_EQ(expired.response.leases_ended(), 0);
  EXPECT_THAT(expired.response.lease_ids(), IsEmpty());
  EXPECT_GE(client().Stats().total(), 2);
  EXPECT_TRUE(Lives(held));
  EXPECT_THAT(client().Release(held.token), IsOk());
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
  EXPECT_TRUE(AwaitRest());
  EXPECT_EQ(client().Stats().counters().connections_closed(), 2);
}

TEST_F(PoolCallsTest, OldConnectionsRetireNowWithTheirLeases) {
  Serve(2, 3);
  ASSERT_TRUE(AwaitRest());
  const Held held = Acquire();
  v1::ExpireRequest request = ConnectionsOlderThan(seconds(0));
  request.mutable_connections()->set_include_leased(true);
  const auto expired = client().Expire(request);
  ASSERT_THAT(expired, IsOk());
  EXPECT_EQ(expired.response.leases_ended(), 1);
  EXPECT_THAT(expired.response.lease_ids(), ElementsAre(held.lease.lease_id()));
  EXPECT_EQ(expired.response.connections_retired(), 2);
  EXPECT_EQ(expired.response.connections_retiring(), 0);
  EXPECT_EQ(expired.response.connections_opened(), 2);
  ExpectRevoked(held);
  EXPECT_TRUE(observer().AwaitGone(held.lease.backend_pid()));
  EXPECT_TRUE(AwaitRest());
  EXPECT_EQ(client().Stats().counters().revoked(), 1);
}

TEST_F(PoolCallsTest, YoungConnectionsStay) {
  Serve(2, 3);
  v1::ExpireRequest by_max_lifetime = ConnectionsOlderThan(seconds(0));
  by_max_lifetime.mutable_connections()->clear_older_than();
  for (const v1::ExpireRequest& request : {by_max_lifetime, ConnectionsOlderThan(hours(1))}) {
    const auto expired = client().Expire(request);
    ASSERT_THAT(expired, IsOk());
    EXPECT_EQ(expired.response.connections_retired(), 0);
    EXPECT_EQ(expired.response.connections_retiring(), 0);
  }
  EXPECT_EQ(client().Stats().counters().connections_closed(), 0);
}

TEST_F(PoolCallsTest, RenewPoolProbesWhatIsIdleAndGrows) {
  Serve(2, 6);
  ASSERT_TRUE(AwaitRest());
  const auto renew = [&](int target) {
    const auto renewed = client().Renew(RenewTo(target));
    EXPECT_THAT(renewed, IsOk());
    EXPECT_FALSE(renewed.response.has_lease());
    EXPECT_EQ(renewed.response.pool().replaced(), 0);
    EXPECT_EQ(renewed.response.pool().failed(), 0);
    return renewed.response.pool();
  };
  const v1::RenewedPool to_four = renew(4);
  EXPECT_EQ(to_four.validated(), 2);
  EXPECT_EQ(to_four.opened(), 2);
  EXPECT_EQ(to_four.total(), 4);

  const Held held = Acquire();
  const v1::RenewedPool smaller = renew(1);
  EXPECT_EQ(smaller.validated(), 3) << "the leased one is left alone";
  EXPECT_EQ(smaller.opened(), 0);
  EXPECT_EQ(smaller.total(), 4) << "nothing is closed";

  const v1::RenewedPool to_max = renew(0);
  EXPECT_EQ(to_max.opened(), 2);
  EXPECT_EQ(to_max.total(), 6);
  EXPECT_EQ(renew(std::numeric_limits<int32_t>::max()).total(), 6) << "lowered to the maximum";
  EXPECT_EQ(observer().Count("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"), 6);
  EXPECT_TRUE(Lives(held));
  EXPECT_EQ(client().Stats().counters().validations(), 2 + 3 + 3 + 5);
}

TEST_F(PoolCallsTest, RenewOfALeaseWithAnOverflow) {
  Serve(1, 1);
  const Held held = Acquire();
  v1::RenewRequest renew;
  renew.set_lease_token(held.token);
  const std::pair<int64_t, int32_t> none[] = {{std::numeric_limits<int64_t>::max(), 999'999'999},
                                              {std::numeric_limits<int64_t>::min(), -999'999'999},
                                              {315'576'000'001, 0},
                                              {1, 1'000'000'000},
                                              {1, -1}};
  for (const auto& [seconds, nanos] : none) {
    *renew.mutable_ttl() = Raw(seconds, nanos);
    const auto refused = client().Renew(renew);
    EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID")) << seconds;
    EXPECT_THAT(refused.fields, ElementsAre("ttl"));
  }
  *renew.mutable_ttl() = Raw(315'576'000'000, 999'999'999);
  EXPECT_EQ(client().Renew(renew).response.lease().ttl().seconds(), 3600);
}

// Of a renewal and the lease's end, exactly one wins, and both sides know which.
TEST_F(PoolCallsTest, ARenewAtTheInstantOfExpiryWinsOrLosesForGood) {
  Serve(4, 4);
  constexpr int kRounds = 40;
  int won = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto asked = std::chrono::steady_clock::now();
    const Held held = Acquire(AcquireFor(milliseconds(100)));
    const auto due = asked + milliseconds(97) + std::chrono::microseconds(150 * round);
    ASSERT_TRUE(Eventually([&] { return std::chrono::steady_clock::now() >= due - milliseconds(6); }));
    while (std::chrono::steady_clock::now() < due) {
    }
    v1::RenewRequest renew;
    renew.set_lease_token(held.token);
    *renew.mutable_ttl() = Span(seconds(60));
    const auto renewed = client().Renew(renew);
    if (renewed.ok()) {
      ++won;
      EXPECT_TRUE(Lives(held));
      EXPECT_THAT(client().Release(held.token), IsOk());
    } else {
      const auto expired = FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_EXPIRED");
      EXPECT_THAT(renewed, expired);
      EXPECT_THAT(client().Renew(renew), expired);
      EXPECT_THAT(client().Execute(held.token, "SELECT 1"), expired);
      EXPECT_THAT(client().Release(held.token), expired);
    }
  }
  const v1::PoolStats stats = client().Stats();
  EXPECT_EQ(stats.counters().released(), won);
  EXPECT_EQ(stats.counters().expired(), kRounds - won);
}

}  // namespace
}  // namespace pglessor::system
