// The HTTP server, on real sockets.
#include "server/ops/http_server.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/http_client.h"

namespace pglessor::ops {
namespace {

using test::HttpAnswer;
using test::HttpCaller;
using test::HttpGet;
using testing::AnyOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Pair;
using testing::StartsWith;

constexpr size_t kBig = 16 << 20;  // more than the sockets' buffers take

class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() { EXPECT_TRUE(server_.Listen("127.0.0.1:0").ok()); }

  const std::string& address() const { return server_.address(); }
  HttpAnswer Ask(const char* method, const char* path) const {
    const HttpCaller caller(address());
    caller.Ask(method, path);
    return caller.ReadAnswer();
  }

  HttpServer server_{{
      {"/page", [] { return HttpPage{.content_type = "text/fancy", .body = "seven"}; }},
      {"/sad", [] { return HttpPage{.status = 503, .body = "not today\n"}; }},
      {"/big", [] { return HttpPage{.body = std::string(kBig, 'x')}; }},
  }};
};

TEST_F(HttpServerTest, ServesAPageByItsPath) {
  const HttpAnswer page = HttpGet(address(), "/page");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.body, "seven");
  EXPECT_THAT(page.headers, Contains(Pair("content-type", "text/fancy")));
  EXPECT_THAT(page.headers, Contains(Pair("content-length", "5")));
  EXPECT_THAT(page.headers, Contains(Pair("cache-control", "no-store")));
  EXPECT_EQ(HttpGet(address(), "/page?with=a&query").body, "seven");
}

TEST_F(HttpServerTest, APageHasItsOwnStatus) {
  const HttpAnswer page = HttpGet(address(), "/sad");
  EXPECT_EQ(page.status, 503);
  EXPECT_EQ(page.body, "not today\n");
  EXPECT_THAT(page.headers, Contains(Pair("content-type", "text/plain; charset=utf-8")));
}

TEST_F(HttpServerTest, AnswersAHeadWithoutABody) {
  const HttpAnswer head = Ask("HEAD", "/page");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
  EXPECT_THAT(head.headers, Contains(Pair("content-length", "5")));
}

TEST_F(HttpServerTest, KnowsNoOtherPath) {
  for (const char* const path : {"/", "/pag", "/page/", "//page", "/page/../page", "/%2e%2e/etc/passwd"}) {
    EXPECT_EQ(HttpGet(address(), path).status, 404) << path;
  }
}

TEST_F(HttpServerTest, RefusesOtherMethods) {
  for (const char* const method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FETCH"}) {
    const HttpAnswer refused = Ask(method, "/page");
    EXPECT_EQ(refused.status, 405) << method;
    EXPECT_THAT(refused.headers, Contains(Pair("allow", "GET, HEAD"))) << method;
  }
}

TEST_F(HttpServerTest, ReadsNoBody) {
  const HttpCaller caller(address());
  caller.Send("POST /page HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000000\r\n\r\nbegin");
  EXPECT_EQ(caller.ReadAnswer().status, 405) << "and it closes without waiting for the rest";
}

TEST_F(HttpServerTest, RefusesAHeadThatIsTooLarge) {
  const HttpCaller caller(address());
  caller.Send("GET /page HTTP/1.1\r\nHost: test\r\nX-Large: ");
  caller.Send(std::string(1 << 20, 'x'));
  caller.Send("\r\n\r\n");
  EXPECT_THAT(caller.ReadAnswer().status, AnyOf(431, 0)) << "0: closed while it was being sent";
  EXPECT_EQ(HttpGet(address(), "/page").status, 200);
}

TEST_F(HttpServerTest, RefusesWhatIsNotHttp) {
  for (const char* const bytes : {"\r\n\r\n\r\n\r\n", "hello\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\r\n\r\n",
                                  "GET /page HTTP/1.1\r\n\r\n"}) {
    const HttpCaller caller(address());
    caller.Send(bytes);
    EXPECT_NE(caller.ReadAnswer().status, 200) << bytes;
  }
  EXPECT_EQ(HttpGet(address(), "/page").status, 200);
}

TEST_F(HttpServerTest, CallersWhoFallSilentKeepNobodyWaitingAndAreDropped) {
  std::vector<std::unique_ptr<HttpCaller>> silent;
  for (int i = 0; i < 100; ++i) {
    silent.push_back(std::make_unique<HttpCaller>(address()));
    silent.back()->Send("GET /page HT");
  }
  EXPECT_EQ(HttpGet(address(), "/page").body, "seven");
  for (const auto& caller : silent) EXPECT_NE(caller->ReadAnswer().status, 200);
}

TEST_F(HttpServerTest, ACallerWhoDoesNotReadKeepsNobodyWaiting) {
  const HttpCaller deaf(address());
  deaf.Ask("GET", "/big");
  EXPECT_EQ(HttpGet(address(), "/page").body, "seven");
  EXPECT_EQ(deaf.ReadAnswer().body.size(), kBig);
}

TEST_F(HttpServerTest, ServesManyAtOnce) {
  std::vector<std::unique_ptr<HttpCaller>> callers;
  for (int i = 0; i < 200; ++i) callers.push_back(std::make_unique<HttpCaller>(address()));
  for (const auto& caller : callers) caller->Ask("GET", "/page");
  for (const auto& caller : callers) EXPECT_EQ(caller->ReadAnswer().body, "seven");
}

TEST_F(HttpServerTest, NamesAnAddressThatIsInUse) {
  HttpServer second({});
  const absl::Status status = second.Listen(address());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(address()));
  EXPECT_THAT(std::string(status.message()), HasSubstr("in use"));
  EXPECT_EQ(second.address(), "");
}

TEST_F(HttpServerTest, NamesAnAddressThatIsNone) {
  for (const char* const address : {"127.0.0.1", "127.0.0.1:nonsense", "192.0.2.1:0"}) {
    HttpServer server({});
    const absl::Status status = server.Listen(address);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << address;
    EXPECT_THAT(std::string(status.message()), HasSubstr(address));
  }
}

TEST_F(HttpServerTest, WithoutAnAddressServesNothing) {
  HttpServer off({});
  EXPECT_TRUE(off.Listen("").ok());
  EXPECT_EQ(off.address(), "");
}

TEST_F(HttpServerTest, StopsAtOnceAndGivesItsPortBack) {
  const std::string address = server_.address();
  EXPECT_THAT(address, StartsWith("127.0.0.1:"));
  const HttpCaller idle(address);
  idle.Send("GET ");
  server_.Stop();
  EXPECT_EQ(idle.ReadAll(), "") << "cut off";
  HttpServer next({});
  EXPECT_TRUE(next.Listen(address).ok());
}

}  // namespace
}  // namespace pglessor::ops
