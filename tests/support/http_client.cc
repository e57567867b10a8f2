#include "tests/support/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace pglessor::test {
namespace {

constexpr int kPatienceSeconds = 60;

HttpAnswer Parse(const std::string& text) {
  HttpAnswer answer;
  const size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos) return answer;
  answer.body = text.substr(end + 4);
  const std::vector<std::string> lines = absl::StrSplit(text.substr(0, end), "\r\n");
  const std::vector<std::string> first = absl::StrSplit(lines[0], ' ');
  if (first.size() < 2 || !absl::SimpleAtoi(first[1], &answer.status)) return {};
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::pair<std::string, std::string> header = absl::StrSplit(lines[i], absl::MaxSplits(": ", 1));
    answer.headers[absl::AsciiStrToLower(header.first)] = header.second;
  }
  return answer;
}

}  // namespace

HttpCaller::HttpCaller(const std::string& address) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  int port = 0;
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) != 1) {
    ADD_FAILURE() << "no address: \"" << address << '"';
    return;
  }
  to.sin_port = htons(static_cast<uint16_t>(port));
  const timeval patience{.tv_sec = kPatienceSeconds, .tv_usec = 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0)
      << address << ": errno " << errno;
}

HttpCaller::~HttpCaller() { close(socket_); }

void HttpCaller::Send(absl::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

void HttpCaller::Ask(absl::string_view method, absl::string_view path) const {
  Send(absl::StrCat(method, " ", path, " HTTP/1.1\r\nHost: test\r\nConnection: keep-alive\r\n\r\n"));
}

std::string HttpCaller::ReadAll() const {
  std::string all;
  std::array<char, 65536> bytes{};
  for (;;) {
    const ssize_t got = recv(socket_, bytes.data(), bytes.size(), 0);
    if (got > 0) {
      all.append(bytes.data(), static_cast<size_t>(got));
      continue;
    }
    // Closed, in either way.
    EXPECT_TRUE(got == 0 || errno == ECONNRESET) << "errno " << errno;
    return all;
  }
}

HttpAnswer HttpCaller::ReadAnswer() const { return Parse(ReadAll()); }

HttpAnswer HttpGet(const std::string& address, absl::string_view path) {
  const HttpCaller caller(address);
  caller.Ask("GET", path);
  return caller.ReadAnswer();
}

}  // namespace pglessor::test
