#include "client/internal/replica.h"

#include <vector>

namespace pglessor::internal {
namespace {

constexpr size_t kMaxIdleReplicas = 64;

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  // A row may have 4 MB, and the message around it a little more.
  arguments.SetMaxReceiveMessageSize(8 << 20);
  // A server that has vanished without a word is found out while calls wait for it. Its own limit is 9 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  // A server that restarts is back in seconds; leases that wait for it have no time to lose.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

Replica::Replica(const std::string& address)
    : channel(NewChannel(address)),
      leases(v1::LeaseService::NewStub(channel)),
      sql(v1::SqlService::NewStub(channel)) {}

std::shared_ptr<Replica> Replicas::At(const std::string& address) {
  if (address.empty() || address == home_address_) return home_;
  std::vector<std::shared_ptr<Replica>> dropped;  // closed outside the lock
  MutexLock lock(mutex_);
  std::shared_ptr<Replica>& replica = others_[address];
  if (replica == nullptr) replica = std::make_shared<Replica>(address);
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
