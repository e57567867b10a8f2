#include "client/internal/replica.h"

#include <vector>

namespace pglessor::internal {
namespace {

constexpr size_t kMaxIdleReplicas = 64;

}  // namespace

Replica::Replica(const std::string& address, const Access& access)
    : channel(NewChannel(address, access)),
      leases(v1::LeaseService::NewStub(channel)),
      sql(v1::SqlService::NewStub(channel)) {}

std::shared_ptr<Replica> Replicas::At(const std::string& address) {
  if (address.empty() || address == home_address_) return home_;
  std::vector<std::shared_ptr<Replica>> dropped;  // closed outside the lock
  MutexLock lock(mutex_);
  std::shared_ptr<Replica>& replica = others_[address];
  if (replica == nullptr) replica = std::make_shared<Replica>(address, access_);
  std::shared_ptr<Replica> found = replica;
  for (auto other = others_.begin(); other != others_.end() && others_.size() > kMaxIdleReplicas;) {
    if (other->second.use_count() > 1) {  // a lease of it lives, or it is the one just found
      ++other;
      continue;
    }
    dropped.push_back(std::move(other->second));
    other = others_.erase(other);
  }
  return found;
}

}  // namespace pglessor::internal
