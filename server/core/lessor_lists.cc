// What there is, page by page: Lessor's ListLeases and ListConnections.
#include <algorithm>
#include <utility>

#include "server/core/lessor.h"

namespace pglessor::core {
namespace {

bool Wants(const LeaseQuery& query, LeaseState state, const LeaseGrant& grant) {
  const bool in_state = query.state ? state == *query.state : state != LeaseState::kEnded;
  return in_state && Matches(query.filter, grant);
}

bool Wants(const ConnectionQuery& query, const ListedConnection& listed) {
  if (query.state && listed.row.slot.state != *query.state) return false;
  if (query.filter.tenant.empty() && query.filter.tags.empty() && !query.filter.sees) return true;
  return listed.lease && Matches(query.filter, listed.lease->grant);
}

}  // namespace

bool Matches(const LeaseFilter& filter, const LeaseGrant& grant) {
  const auto has_tag = [&](const auto& tag) {
    const auto found = grant.terms.tags.find(tag.first);
    return found != grant.terms.tags.end() && found->second == tag.second;
  };
  return (filter.pool.empty() || grant.pool == filter.pool) &&
         (filter.tenant.empty() || grant.terms.tenant == filter.tenant) &&
         (!filter.sees || filter.sees(grant.terms.tenant)) &&
         std::all_of(filter.tags.begin(), filter.tags.end(), has_tag);
}

absl::StatusOr<LeasePage> Lessor::ListLeases(const LeaseQuery& query, std::optional<LeaseCounter> after,
                                             size_t limit) {
  if (!query.filter.pool.empty()) {
    if (absl::Status pool = CheckPool(query.filter.pool); !pool.ok()) return pool;
  }
  std::vector<LeaseCounter> found = leases_.Page(
      after, limit + 1, [&](const Lease& lease) { return Wants(query, lease.state(), lease.grant()); });
  LeasePage page;
  if (found.size() > limit) {
    found.resize(limit);
    page.next_behind = found.back();
  }
  // Each is copied under a lock of its own, and may have ended since it was found.
  for (const LeaseCounter lease : found) {
    std::optional<LeaseView> view = leases_.View(lease);
    if (view && Wants(query, view->state, view->grant)) page.leases.push_back(*std::move(view));
  }
  return page;
}

absl::StatusOr<ConnectionPage> Lessor::ListConnections(const ConnectionQuery& query,
                                                       const std::optional<ConnectionPlace>& after,
                                                       size_t limit) {
  const std::string& only = query.filter.pool;
  if (!only.empty()) {
    if (absl::Status pool = CheckPool(only); !pool.ok()) return pool;
  }
  ConnectionPage page;
  for (Pool* const pool : pools_.Shown()) {
    const std::string& name = pool->name();
    if ((after && name < after->pool) || (!only.empty() && name != only)) continue;
    const ConnectionIndex behind = after && after->pool == name ? after->index : ConnectionIndex{0};
    PoolView view = pool->View();
    for (PoolView::Row& row : view.connections) {
      if (row.slot.index <= behind) continue;
      ListedConnection listed{name, std::move(row), std::nullopt, view.now, view.now_wall};
      if (listed.row.slot.state == SlotState::kInUse && listed.row.lease) {
        listed.lease = leases_.View(*listed.row.lease);
      }
      if (!Wants(query, listed)) continue;
      if (page.connections.size() == limit) {
        const ListedConnection& last = page.connections.back();
        page.next_behind = ConnectionPlace{last.pool, last.row.slot.index};
        return page;
      }
      page.connections.push_back(std::move(listed));
    }
  }
  return page;
}

}  // namespace pglessor::core
