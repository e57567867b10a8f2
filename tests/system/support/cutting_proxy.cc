#include "tests/system/support/cutting_proxy.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace pglessor::system {
namespace {

constexpr int kLookMilliseconds = 20;  // at whether it is to end

sockaddr_un Address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  EXPECT_LT(path.size(), sizeof(address.sun_path));
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  return address;
}

bool SendAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

}  // namespace

CuttingProxy::CuttingProxy(std::string postgres_socket)
    : postgres_socket_(std::move(postgres_socket)),
      listener_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const sockaddr_un address = Address((folder_.path() / ".s.PGSQL.5432").string());
  EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(listen(listener_, SOMAXCONN), 0);
  thread_ = std::thread([this] { Run(); });
}

CuttingProxy::~CuttingProxy() {
  stop_ = true;
  thread_.join();
  for (const Pair& pair : pairs_) Close(pair);
  close(listener_);
}

void CuttingProxy::CutAfter(Way way, size_t bytes) {
  const std::lock_guard lock(mutex_);
  armed_ = Cut{way, bytes};
}

bool CuttingProxy::Disarm() {
  const std::lock_guard lock(mutex_);
  return !std::exchange(armed_, std::nullopt).has_value();
}

void CuttingProxy::AnswerNext(std::string bytes) {
  const std::lock_guard lock(mutex_);
  answer_ = std::move(bytes);
}

void CuttingProxy::SendUnasked(std::string bytes) {
  const std::lock_guard lock(mutex_);
  unasked_ = std::move(bytes);
}

void CuttingProxy::Run() {
  while (!stop_) {
    if (const auto unasked = Take(unasked_)) {
      for (const Pair& pair : pairs_) SendAll(pair.client, unasked->data(), unasked->size());
    }
    std::vector<pollfd> waited = {{listener_, POLLIN, 0}};
    for (const Pair& pair : pairs_) {
      waited.push_back({pair.client, POLLIN, 0});
      waited.push_back({pair.postgres, POLLIN, 0});
    }
    if (poll(waited.data(), waited.size(), kLookMilliseconds) <= 0) continue;
    size_t at = 1;
    for (auto pair = pairs_.begin(); pair != pairs_.end(); at += 2) {
      const bool alive = (waited[at].revents == 0 || Pass(*pair, Way::kToPostgres)) &&
                         (waited[at + 1].revents == 0 || Pass(*pair, Way::kFromPostgres));
      if (!alive) Close(*pair);
      pair = alive ? std::next(pair) : pairs_.erase(pair);
    }
    if (waited[0].revents != 0) Accept();
  }
}

void CuttingProxy::Accept() {
  Pair pair;
  pair.client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  pair.postgres = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = Address(postgres_socket_);
  if (connect(pair.postgres, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    Close(pair);
    return;
  }
  pairs_.push_back(pair);
}

bool CuttingProxy::Pass(const Pair& pair, Way way) {
  const bool to_postgres = way == Way::kToPostgres;
  std::array<char, 65536> bytes{};
  const ssize_t got = recv(to_postgres ? pair.client : pair.postgres, bytes.data(), bytes.size(), 0);
  if (got <= 0) return false;
  if (to_postgres) {
    if (const auto answer = Take(answer_)) return SendAll(pair.client, answer->data(), answer->size());
  }
  bool cut = false;
  const size_t allowed = Allowed(way, static_cast<size_t>(got), cut);
  return SendAll(to_postgres ? pair.postgres : pair.client, bytes.data(), allowed) && !cut;
}

std::optional<std::string> CuttingProxy::Take(std::optional<std::string>& bytes) {
  const std::lock_guard lock(mutex_);
  return std::exchange(bytes, std::nullopt);
}

size_t CuttingProxy::Allowed(Way way, size_t size, bool& cut) {
  const std::lock_guard lock(mutex_);
  if (!armed_ || armed_->way != way) return size;
  if (size < armed_->left) {
    armed_->left -= size;
    return size;
  }
  cut = true;
  return std::exchange(armed_, std::nullopt)->left;
}

void CuttingProxy::Close(const Pair& pair) {
  close(pair.client);
  close(pair.postgres);
}

}  // namespace pglessor::system
