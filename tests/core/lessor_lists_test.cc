// Lists of leases and connections, page by page: what is in them, in which order, and what a walk promises
// while leases come and go.
#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "server/core/lessor.h"
#include "tests/core/lessor_fixture.h"
#include "tests/support/status_matchers.h"

namespace pglessor::core {
namespace {

using namespace std::chrono_literals;
using test::HasReason;
using test::IsOk;
using testing::ElementsAre;
using testing::IsEmpty;

class LessorListsTest : public LessorTest {
 protected:
  LeaseView Hold(const std::string& tenant, const std::map<std::string, std::string>& tags = {}) {
    AcquireRequest request = WithTtl(1h);
    request.tenant = tenant;
    request.tags = tags;
    return Granted(Acquire(std::move(request)));
  }

  std::vector<uint64_t> Leases(const LeaseQuery& query) {
    const auto page = lessor_->ListLeases(query, std::nullopt, 1000);
    EXPECT_THAT(page, IsOk());
    std::vector<uint64_t> leases;
    for (const LeaseView& lease : page->leases) leases.push_back(lease.grant.counter.value);
    return leases;
  }

  // "pool/index" of each.
  static std::vector<std::string> Names(const std::vector<ListedConnection>& connections) {
    std::vector<std::string> names;
    for (const ListedConnection& connection : connections) {
      names.push_back(connection.pool + "/" + std::to_string(connection.row.slot.index.value));
    }
    return names;
  }
  std::vector<std::string> Connections(const ConnectionQuery& query) {
    const auto page = lessor_->ListConnections(query, std::nullopt, 1000);
    EXPECT_THAT(page, IsOk());
    EXPECT_FALSE(page->next_behind.has_value());
    return Names(page->connections);
  }
};

TEST_F(LessorListsTest, LeasesAreListedOldestFirstByEveryFilter) {
  test::FakeFencingSource other_fencing(executor_);
  lessor_->AddPool({.name = "other", .min_connections = 1, .max_connections = 1}, connector_, other_fencing);
  StartPool({.min_connections = 4, .max_connections = 4});
  Hold("a", {{"job", "x"}, {"host", "1"}});
  Hold("b", {{"job", "x"}});
  Hold("a", {{"job", "y"}});
  AcquireRequest elsewhere = OfPool("other");
  elsewhere.tenant = "a";
  Granted(Acquire(std::move(elsewhere)));

  EXPECT_THAT(Leases({}), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Leases({.filter = {.pool = "other", .tenant = {}, .tags = {}}, .state = {}}), ElementsAre(4));
  EXPECT_THAT(Leases({.filter = {.pool = {}, .tenant = "a", .tags = {}}, .state = {}}), ElementsAre(1, 3, 4));
  EXPECT_THAT(Leases({.filter = {.pool = {}, .tenant = {}, .tags = {{"job", "x"}}}, .state = {}}),
              ElementsAre(1, 2));
  EXPECT_THAT(
      Leases({.filter = {.pool = {}, .tenant = {}, .tags = {{"job", "x"}, {"host", "1"}}}, .state = {}}),
      ElementsAre(1));
  EXPECT_THAT(Leases({.filter = {.pool = "default", .tenant = "a", .tags = {{"job", "y"}}}, .state = {}}),
              ElementsAre(3));
  EXPECT_THAT(Leases({.filter = {.pool = {}, .tenant = "nobody", .tags = {}}, .state = {}}), IsEmpty());
  EXPECT_THAT(lessor_->ListLeases({.filter = {.pool = "no", .tenant = {}, .tags = {}}, .state = {}},
                                  std::nullopt, 10),
              HasReason("POOL_NOT_FOUND"));
}

TEST_F(LessorListsTest, WhoSeesOneTenantOnlyIsShownNothingElse) {
  StartPool({.min_connections = 3, .max_connections = 3});
  Hold("a");
  const LeaseView b = Hold("b");
  LeaseFilter of_b;
  of_b.sees = [](absl::string_view tenant) { return tenant == "b"; };
  EXPECT_THAT(Leases({.filter = of_b, .state = {}}), ElementsAre(2));
  // Not the one that nobody has, either.
  EXPECT_THAT(Connections({.filter = of_b, .state = {}}),
              ElementsAre("default/" + std::to_string(b.grant.connection.value)));
  of_b.tenant = "a";
  EXPECT_THAT(Leases({.filter = of_b, .state = {}}), IsEmpty());
  EXPECT_THAT(Connections({.filter = of_b, .state = {}}), IsEmpty());
}

TEST_F(LessorListsTest, EndedLeasesAreListedWhereAskedForWhileRemembered) {
  StartPool({.min_connections = 3, .max_connections = 3});
  const LeaseView released = Hold("a");
  const LeaseView ending = Hold("a");
  Hold("a");
  ConnectionOf(ending)->HoldFences();
  Execute(ending.grant.counter, "SELECT 1");
  Release(released.grant.counter);
  Expire(ending.grant.counter);

  EXPECT_THAT(Leases({}), ElementsAre(2, 3));
  EXPECT_THAT(Leases({.filter = {}, .state = LeaseState::kActive}), ElementsAre(3));
  EXPECT_THAT(Leases({.filter = {}, .state = LeaseState::kEnding}), ElementsAre(2));
  EXPECT_THAT(Leases({.filter = {}, .state = LeaseState::kEnded}), ElementsAre(1));
  ConnectionOf(ending)->ReleaseFences();
  executor_.RunDue();
  EXPECT_THAT(Leases({.filter = {}, .state = LeaseState::kEnded}), ElementsAre(1, 2));
  clock_.Advance(11min);
  lessor_->Tick();
  EXPECT_THAT(Leases({.filter = {}, .state = LeaseState::kEnded}), IsEmpty());
}

TEST_F(LessorListsTest, APageSaysWhereTheNextBegins) {
  StartPool({.min_connections = 5, .max_connections = 5});
  for (int i = 0; i < 5; ++i) Hold("a");
  const auto first = lessor_->ListLeases({}, std::nullopt, 2);
  ASSERT_EQ(first->leases.size(), 2U);
  ASSERT_EQ(first->next_behind, LeaseCounter{2});
  const auto rest = lessor_->ListLeases({}, first->next_behind, 3);
  EXPECT_EQ(rest->leases.front().grant.counter, LeaseCounter{3});
  EXPECT_EQ(rest->leases.size(), 3U);
  EXPECT_EQ(rest->next_behind, std::nullopt);  // a full page, and the last
  EXPECT_THAT(lessor_->ListLeases({}, LeaseCounter{5}, 3)->leases, IsEmpty());
}

// What is there during a whole walk is in it once, and in order, whatever comes and goes meanwhile.
TEST_F(LessorListsTest, AWalkFindsExactlyOnceWhatIsThereThroughout) {
  StartPool({.min_connections = 40, .max_connections = 40});
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::vector<LeaseCounter> held;
    for (int i = 0; i < 20; ++i) held.push_back(Hold("a").grant.counter);
    std::set<uint64_t> throughout, walked, ever;
    for (const LeaseCounter lease : held) throughout.insert(lease.value);
    ever = throughout;
    const size_t page_size = 1 + random() % 7;
    uint64_t last = 0;
    std::optional<LeaseCounter> behind;
    do {
      const auto page = lessor_->ListLeases({}, behind, page_size);
      ASSERT_THAT(page, IsOk());
      ASSERT_LE(page->leases.size(), page_size);
      for (const LeaseView& lease : page->leases) {
        ASSERT_GT(lease.grant.counter.value, last) << "seed " << seed;
        last = lease.grant.counter.value;
        walked.insert(last);
      }
      behind = page->next_behind;
      const size_t victim = random() % held.size();
      throughout.erase(held[victim].value);
      Release(held[victim]);
      held[victim] = Hold("b").grant.counter;
      ever.insert(held[victim].value);
    } while (behind);
    ASSERT_TRUE(std::includes(walked.begin(), walked.end(), throughout.begin(), throughout.end()))
        << "seed " << seed;
    ASSERT_TRUE(std::includes(ever.begin(), ever.end(), walked.begin(), walked.end())) << "seed " << seed;
    for (const LeaseCounter lease : held) Release(lease);
  }
}

TEST_F(LessorListsTest, ConnectionsAreListedByPoolThenOldestFirst) {
  lessor_->AddPool({.name = "another", .min_connections = 2, .max_connections = 2}, connector_, fencing_);
  StartPool({.min_connections = 2, .max_connections = 3});
  Hold("a", {{"job", "x"}});
  const LeaseView b = Hold("b");

  EXPECT_THAT(Connections({}), ElementsAre("another/1", "another/2", "default/1", "default/2"));
  EXPECT_THAT(Connections({.filter = {.pool = "another", .tenant = {}, .tags = {}}, .state = {}}),
              ElementsAre("another/1", "another/2"));
  EXPECT_THAT(Connections({.filter = {.pool = {}, .tenant = "b", .tags = {}}, .state = {}}),
              ElementsAre("default/" + std::to_string(b.grant.connection.value)));
  EXPECT_THAT(Connections({.filter = {}, .state = SlotState::kAvailable}),
              ElementsAre("another/1", "another/2"));
  EXPECT_THAT(Connections({.filter = {.pool = {}, .tenant = {}, .tags = {{"job", "x"}}},
                           .state = SlotState::kAvailable}),
              IsEmpty());
  connector_.HoldOpens();
  Acquire(WithWait(1s));
  EXPECT_THAT(Connections({.filter = {}, .state = SlotState::kOpening}), ElementsAre("default/3"));
  EXPECT_THAT(lessor_->ListConnections({.filter = {.pool = "no", .tenant = {}, .tags = {}}, .state = {}},
                                       std::nullopt, 10),
              HasReason("POOL_NOT_FOUND"));

  const auto listed = lessor_->ListConnections(
      {.filter = {.pool = {}, .tenant = "b", .tags = {}}, .state = {}}, std::nullopt, 10);
  EXPECT_EQ(listed->connections.front().lease->grant.counter, b.grant.counter);
}

TEST_F(LessorListsTest, AWalkOverConnectionsGoesFromPoolToPool) {
  lessor_->AddPool({.name = "another", .min_connections = 3, .max_connections = 3}, connector_, fencing_);
  StartPool({.min_connections = 2, .max_connections = 2});
  std::vector<std::string> names;
  std::optional<ConnectionPlace> behind;
  int pages = 0;
  do {
    const auto page = lessor_->ListConnections({}, behind, 2);
    ASSERT_THAT(page, IsOk());
    for (const std::string& name : Names(page->connections)) names.push_back(name);
    behind = page->next_behind;
    ++pages;
  } while (behind);
  EXPECT_EQ(pages, 3);
  EXPECT_THAT(names, ElementsAre("another/1", "another/2", "another/3", "default/1", "default/2"));
}

}  // namespace
}  // namespace pglessor::core
