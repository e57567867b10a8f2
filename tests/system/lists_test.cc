// OperatorService's lists over gRPC: what an operator sees, how he walks it, and what he is refused.
#include <atomic>
#include <chrono>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/operators.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

class ListsTest : public SystemTest {
 protected:
  Operators operators() { return Operators(client()); }

  Held AcquireFor(const std::string& tenant, const std::string& job) {
    v1::AcquireRequest request;
    request.set_tenant(tenant);
    request.set_holder("lists");
    (*request.mutable_tags())["job"] = job;
    return Acquire(request);
  }

  // Of "conn_<index>_<time>".
  static int IndexOf(const v1::Connection& connection) {
    return std::stoi(connection.stats().id().substr(5));
  }

  static std::vector<std::string> Ids(const v1::ListLeasesResponse& page) {
    std::vector<std::string> ids;
    for (const v1::Lease& lease : page.leases()) ids.push_back(lease.lease_id());
    return ids;
  }
};

TEST_F(ListsTest, LeasesAreListedOldestFirstAndByFilters) {
  Serve(3, 3);
  const Held first = AcquireFor("a", "x");
  const Held second = AcquireFor("b", "y");
  const Held third = AcquireFor("a", "y");

  const auto all = operators().ListLeases();
  ASSERT_THAT(all, IsOk());
  EXPECT_THAT(Ids(all.response),
              ElementsAre(first.lease.lease_id(), second.lease.lease_id(), third.lease.lease_id()));
  EXPECT_EQ(all.response.next_page_token(), "");
  EXPECT_EQ(all.response.leases(0).ShortDebugString(), first.lease.ShortDebugString());
  for (const Held* held : {&first, &second, &third}) {
    EXPECT_THAT(all.response.DebugString(), Not(HasSubstr(held->token)));
  }

  v1::ListLeasesRequest of_a;
  of_a.set_pool("default");
  of_a.set_tenant("a");
  EXPECT_THAT(Ids(operators().ListLeases(of_a).response),
              ElementsAre(first.lease.lease_id(), third.lease.lease_id()));
  (*of_a.mutable_tags())["job"] = "y";
  EXPECT_THAT(Ids(operators().ListLeases(of_a).response), ElementsAre(third.lease.lease_id()));

  EXPECT_THAT(client().Release(first.token), IsOk());
  v1::ListLeasesRequest ended;
  ended.set_state(v1::LEASE_STATE_ENDED);
  const auto released = operators().ListLeases(ended);
  EXPECT_THAT(Ids(released.response), ElementsAre(first.lease.lease_id()));
  EXPECT_EQ(released.response.leases(0).end_reason(), v1::END_REASON_RELEASED);
  EXPECT_EQ(operators().ListLeases().response.leases_size(), 2);
}

TEST_F(ListsTest, ConnectionsAreListedWithWhoHasThem) {
  Serve(3, 3);
  const Held held = AcquireFor("a", "x");
  const auto all = operators().ListConnections();
  ASSERT_THAT(all, IsOk());
  ASSERT_EQ(all.response.connections_size(), 3);
  std::vector<int> indices;
  for (const v1::Connection& connection : all.response.connections()) {
    EXPECT_EQ(connection.pool(), "default");
    indices.push_back(IndexOf(connection));
    const bool leased = connection.stats().id() == held.lease.connection_id();
    EXPECT_EQ(connection.stats().in_use(), leased);
    EXPECT_EQ(connection.has_lease(), leased);
  }
  EXPECT_THAT(indices, ElementsAre(1, 2, 3));
  EXPECT_THAT(all.response.DebugString(), Not(HasSubstr(held.token)));

  v1::ListConnectionsRequest of_a;
  of_a.set_tenant("a");
  const auto leased = operators().ListConnections(of_a);
  ASSERT_EQ(leased.response.connections_size(), 1);
  const v1::Connection& connection = leased.response.connections(0);
  EXPECT_EQ(connection.stats().state(), v1::CONNECTION_STATE_IN_USE);
  EXPECT_EQ(connection.stats().lease_id(), held.lease.lease_id());
  EXPECT_EQ(connection.stats().backend_pid(), held.lease.backend_pid());
  EXPECT_EQ(connection.lease().lease_id(), held.lease.lease_id());
  EXPECT_THAT(connection.lease().tags(), ElementsAre(Pair("job", "x")));

  v1::ListConnectionsRequest idle;
  idle.set_state(v1::CONNECTION_STATE_AVAILABLE);
  EXPECT_EQ(operators().ListConnections(idle).response.connections_size(), 2);
  idle.set_tenant("a");
  EXPECT_EQ(operators().ListConnections(idle).response.connections_size(), 0);
}

TEST_F(ListsTest, PagesGoOnWhereTheLastOneEnded) {
  Serve(5, 5);
  std::vector<std::string> expected;
  for (int i = 0; i < 5; ++i) expected.push_back(AcquireFor("a", "x").lease.lease_id());
  v1::ListLeasesRequest request;
  request.set_page_size(2);
  std::vector<std::string> ids;
  int pages = 0;
  do {
    const auto page = operators().ListLeases(request);
    ASSERT_THAT(page, IsOk());
    for (const std::string& id : Ids(page.response)) ids.push_back(id);
    request.set_page_token(page.response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(ids, expected);
  EXPECT_EQ(pages, 3);

  v1::ListConnectionsRequest connections;
  connections.set_page_size(3);
  const auto first = operators().ListConnections(connections);
  connections.set_page_size(1'000'000'000);  // may change from page to page
  connections.set_page_token(first.response.next_page_token());
  const auto rest = operators().ListConnections(connections);
  ASSERT_THAT(rest, IsOk());
  EXPECT_EQ(rest.response.connections_size(), 2);
  EXPECT_EQ(rest.response.next_page_token(), "");
  EXPECT_EQ(IndexOf(first.response.connections(2)), 3);
  EXPECT_EQ(IndexOf(rest.response.connections(0)), 4);
}

TEST_F(ListsTest, BadRequestsNameTheirField) {
  Serve(2, 2);
  AcquireFor("a", "x");
  AcquireFor("a", "x");
  v1::ListLeasesRequest one;
  one.set_page_size(1);
  const std::string of_leases = operators().ListLeases(one).response.next_page_token();
  ASSERT_NE(of_leases, "");
  v1::ListConnectionsRequest one_connection;
  one_connection.set_page_size(1);
  const std::string of_connections = operators().ListConnections(one_connection).response.next_page_token();

  struct Bad {
    const char* field;
    int page_size = 0;
    std::string page_token = {};
    int state = 0;
    std::string tenant = {};
  };
  const Bad bad[] = {
      {.field = "page_size", .page_size = -1},
      {.field = "page_size", .page_size = std::numeric_limits<int>::min()},
      {.field = "state", .state = 99},
      {.field = "state", .state = -1},
      {.field = "page_token", .page_token = "made up"},
      {.field = "page_token", .page_token = std::string(1 << 20, 'A')},
      {.field = "page_token", .page_token = of_leases, .tenant = "a"},
      {.field = "page_token", .page_token = of_connections, .tenant = "a"},
  };
  const auto expect_refused = [](const Outcome& refused, const Bad& why) {
    EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID")) << why.field;
    EXPECT_THAT(refused.fields, ElementsAre(why.field));
  };
  for (const Bad& b : bad) {
    v1::ListLeasesRequest leases;
    leases.set_page_size(b.page_size);
    leases.set_page_token(b.page_token);
    leases.set_state(static_cast<v1::LeaseState>(b.state));
    leases.set_tenant(b.tenant);
    expect_refused(operators().ListLeases(leases), b);
    v1::ListConnectionsRequest connections;
    connections.set_page_size(b.page_size);
    connections.set_page_token(b.page_token);
    connections.set_state(static_cast<v1::ConnectionState>(b.state));
    connections.set_tenant(b.tenant);
    expect_refused(operators().ListConnections(connections), b);
  }
  // Each list's token is its own.
  one.set_page_token(of_connections);
  expect_refused(operators().ListLeases(one), {.field = "page_token"});
  one_connection.set_page_token(of_leases);
  expect_refused(operators().ListConnections(one_connection), {.field = "page_token"});

  v1::ListLeasesRequest nowhere;
  nowhere.set_pool("nowhere");
  EXPECT_THAT(operators().ListLeases(nowhere), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
  v1::ListConnectionsRequest no_pool;
  no_pool.set_pool("nowhere");
  EXPECT_THAT(operators().ListConnections(no_pool), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
}

// A thousand leases with all the tags they may have are more than one message holds.
TEST_F(ListsTest, APageIsNeverLargerThanAClientTakes) {
  Serve(1, 1);
  v1::AcquireRequest request;
  for (int i = 0; i < 16; ++i) {
    (*request.mutable_tags())[std::string(61, 'k') + std::to_string(10 + i)] = std::string(255, 'v');
  }
  constexpr int kLeases = 800;
  for (int i = 0; i < kLeases; ++i) ASSERT_THAT(client().Release(Acquire(request).token), IsOk());
  v1::ListLeasesRequest ended;
  ended.set_state(v1::LEASE_STATE_ENDED);
  ended.set_page_size(1000);
  int leases = 0, pages = 0;
  do {
    const auto page = operators().ListLeases(ended);
    ASSERT_THAT(page, IsOk());
    leases += page.response.leases_size();
    ended.set_page_token(page.response.next_page_token());
    ++pages;
  } while (!ended.page_token().empty());
  EXPECT_EQ(leases, kLeases);
  EXPECT_GT(pages, 1);
}

TEST_F(ListsTest, AWalkUnderLoadFindsOnceWhatIsThereThroughout) {
  Serve(8, 8);
  std::set<std::string> throughout;
  for (int i = 0; i < 4; ++i) throughout.insert(AcquireFor("stays", "x").lease.lease_id());
  std::atomic<bool> stop = false;
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (!stop) client().Release(AcquireFor("goes", "y").token);
    });
  }
  for (int walk = 0; walk < 100; ++walk) {
    std::vector<std::string> found;
    v1::ListLeasesRequest request;
    request.set_page_size(1);
    do {
      const auto page = operators().ListLeases(request);
      EXPECT_THAT(page, IsOk());
      for (const v1::Lease& lease : page.response.leases()) {
        if (lease.tenant() == "stays") found.push_back(lease.lease_id());
      }
      request.set_page_token(page.response.next_page_token());
    } while (!request.page_token().empty());
    EXPECT_EQ(found.size(), throughout.size());
    EXPECT_EQ(std::set<std::string>(found.begin(), found.end()), throughout);
  }
  stop = true;
  for (std::thread& other : others) other.join();
}

}  // namespace
}  // namespace pglessor::system
