// What callers get wrong: each fault has its code, reason and field, and leaves nothing behind.
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using testing::ElementsAre;

class BadInputTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 2); }

  // What every one of these must have left: nothing.
  void TearDown() override {
    EXPECT_TRUE(AwaitRest());
    SystemTest::TearDown();
  }
};

google::protobuf::Duration Raw(int64_t seconds, int32_t nanos) {
  google::protobuf::Duration span;
  span.set_seconds(seconds);
  span.set_nanos(nanos);
  return span;
}

TEST_F(BadInputTest, AcquireNamesTheField) {
  struct Fault {
    const char* what;
    const char* field;
    std::function<void(v1::AcquireRequest&)> make;
  };
  using Request = v1::AcquireRequest;
  const auto ttl = [](int64_t seconds, int32_t nanos) {
    return [=](Request& request) { *request.mutable_ttl() = Raw(seconds, nanos); };
  };
  const auto wait = [](int64_t seconds, int32_t nanos) {
    return [=](Request& request) { *request.mutable_wait_timeout() = Raw(seconds, nanos); };
  };
  const auto tenant = [](const std::string& name) {
    return [=](Request& request) { request.set_tenant(name); };
  };
  const auto tag = [](const std::string& key, const std::string& value) {
    return [=](Request& request) { (*request.mutable_tags())[key] = value; };
  };
  const auto priority = [](int value) {
    return [=](Request& request) { request.set_priority(static_cast<v1::Priority>(value)); };
  };
  const auto request_id = [](const std::string& id) {
    return [=](Request& request) { request.set_request_id(id); };
  };
  const Fault faults[] = {
      {"zero", "ttl", ttl(0, 0)},
      {"negative", "ttl", ttl(-1, 0)},
      {"negative nanos", "ttl", ttl(0, -1)},
      {"mixed signs", "ttl", ttl(1, -1)},
      {"not normalised", "ttl", ttl(0, 1'000'000'000)},
      {"most seconds", "ttl", ttl(std::numeric_limits<int64_t>::max(), 0)},
      {"fewest seconds", "ttl", ttl(std::numeric_limits<int64_t>::min(), 0)},
      {"negative", "wait_timeout", wait(-1, 0)},
      {"not normalised", "wait_timeout", wait(1, 1'000'000'000)},
      {"upper case", "tenant", tenant("Billing")},
      {"leading dot", "tenant", tenant(".billing")},
      {"a way out", "tenant", tenant("../billing")},
      {"NUL", "tenant", tenant(std::string("a\0b", 3))},
      {"newline", "tenant", tenant("a\nb")},
      {"right to left", "tenant", tenant("a\u202eb")},
      {"64 letters", "tenant", tenant(std::string(64, 'a'))},
      {"65 KB", "tenant", tenant(std::string(65'000, 'a'))},
      {"257 bytes", "holder", [](Request& request) { request.set_holder(std::string(257, 'h')); }},
      {"below its values", "priority", priority(-1)},
      {"above its values", "priority", priority(9)},
      {"not a UUID", "request_id", request_id("again")},
      {"no hexadecimal", "request_id", request_id("7f1c0e52-9f0a-4b1e-8b53-2f4a4c1de0zz")},
      {"an empty key", "tags", tag("", "value")},
      {"a key of 64 bytes", "tags", tag(std::string(64, 'k'), "value")},
      {"a value of 256 bytes", "tags", tag("key", std::string(256, 'v'))},
      {"17 tags", "tags",
       [](Request& request) {
         for (int i = 0; i < 17; ++i) (*request.mutable_tags())[std::to_string(i)] = "value";
       }},
      {"200 tags", "tags",
       [](Request& request) {
         for (int i = 0; i < 200; ++i) (*request.mutable_tags())[std::to_string(i)] = "value";
       }},
      {"a value of 10 KB", "tags", tag("key", std::string(10'000, 'v'))},
      {"a key of 10 KB", "tags", tag(std::string(10'000, 'k'), "value")},
  };
  for (const Fault& fault : faults) {
    SCOPED_TRACE(std::string(fault.field) + ": " + fault.what);
    Request request;
    fault.make(request);
    const auto refused = client().Acquire(request);
    EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
    EXPECT_THAT(refused.fields, ElementsAre(fault.field));
  }
  EXPECT_EQ(client().Stats().counters().granted(), 0);
}

TEST_F(BadInputTest, AcquireTakesWhatIsJustAllowed) {
  v1::AcquireRequest request;
  request.set_tenant("0" + std::string(62, '_'));
  request.set_holder(std::string(256, 'h'));
  for (int i = 0; i < 15; ++i) (*request.mutable_tags())[std::to_string(i)] = "";
  (*request.mutable_tags())[std::string(63, 'k')] = std::string(255, 'v');
  *request.mutable_ttl() = Raw(315'576'000'000, 999'999'999);
  *request.mutable_wait_timeout() = Raw(315'576'000'000, 999'999'999);
  const Held held = Acquire(request);
  EXPECT_EQ(held.lease.tags_size(), 16);
  EXPECT_EQ(held.lease.ttl().seconds(), 3600);
  EXPECT_THAT(client().Release(held.token), IsOk());
}

TEST_F(BadInputTest, HolderAndTagsReachNoSettingOfTheSession) {
  const std::string smuggled = "x' options='-c statement_timeout=1' application_name='psql";
  v1::AcquireRequest request;
  request.set_holder(smuggled);
  (*request.mutable_tags())["application_name"] = smuggled;
  (*request.mutable_tags())["options"] = "-c statement_timeout=1";
  const Held held = Acquire(request);
  EXPECT_EQ(held.lease.holder(), smuggled);
  EXPECT_EQ(client().Execute(held.token, "SHOW statement_timeout").Value(), "text_value: \"0\"");
  EXPECT_THAT(observer().Activity(held.lease.backend_pid(), "application_name"),
              testing::StartsWith("pglessor"));
  EXPECT_THAT(client().Release(held.token), IsOk());
}

TEST_F(BadInputTest, AnUnknownPool) {
  v1::AcquireRequest acquire;
  acquire.set_pool("nowhere");
  EXPECT_THAT(client().Acquire(acquire), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
  v1::StatsRequest stats;
  stats.set_pool("nowhere");
  EXPECT_THAT(client().StatsOf(stats), FailsWith(StatusCode::NOT_FOUND, "POOL_NOT_FOUND"));
}

TEST_F(BadInputTest, ATokenThatIsNotOneIsUnknownInOneText) {
  const Held held = Acquire();
  std::vector<std::string> wrong = {"",
                                    "garbage",
                                    held.token + "A",
                                    " " + held.token,
                                    held.token.substr(1),
                                    held.lease.lease_id(),
                                    std::string(100'000, 'A')};
  for (size_t i = 0; i < held.token.size(); ++i) {
    std::string& changed = wrong.emplace_back(held.token);
    changed[i] = static_cast<char>(changed[i] ^ 1);
  }
  const std::string text = client().Renew("garbage").status.error_message();
  for (const std::string& token : wrong) {
    SCOPED_TRACE(token.substr(0, 200));
    const Outcome answers[] = {client().Renew(token), client().Release(token), client().Expire(token),
                               client().Execute(token, "SELECT 1")};
    for (const Outcome& answer : answers) {
      EXPECT_THAT(answer, FailsWith(StatusCode::NOT_FOUND, "LEASE_NOT_FOUND"));
      EXPECT_EQ(answer.status.error_message(), text);
    }
  }
  EXPECT_THAT(client().Release(held.token), IsOk()) << "the true one still works";
}

TEST_F(BadInputTest, AnUnknownLeaseId) {
  for (const char* id : {"", "nonsense", "a-1-2"}) {
    v1::ExpireRequest expire;
    expire.set_lease_id(id);
    EXPECT_THAT(client().Expire(expire), FailsWith(StatusCode::NOT_FOUND, "LEASE_NOT_FOUND")) << id;
  }
}

TEST_F(BadInputTest, NoSubject) {
  const auto renew = client().Renew(v1::RenewRequest());
  EXPECT_THAT(renew, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(renew.fields, ElementsAre("subject"));
  const auto expire = client().Expire(v1::ExpireRequest());
  EXPECT_THAT(expire, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(expire.fields, ElementsAre("subject"));
  const Result execute = client().Execute(v1::ExecuteRequest());
  EXPECT_THAT(execute, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(execute.fields, ElementsAre("on"));
}

TEST_F(BadInputTest, RenewWithATtlThatIsNone) {
  const Held held = Acquire();
  for (const auto& span : {Raw(0, 0), Raw(-1, 0), Raw(std::numeric_limits<int64_t>::max(), 0)}) {
    v1::RenewRequest renew;
    renew.set_lease_token(held.token);
    *renew.mutable_ttl() = span;
    const auto refused = client().Renew(renew);
    EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
    EXPECT_THAT(refused.fields, ElementsAre("ttl"));
  }
  EXPECT_THAT(client().Release(held.token), IsOk());
}

TEST_F(BadInputTest, ReleaseWithADispositionThatIsNone) {
  const Held held = Acquire();
  v1::ReleaseRequest release;
  release.set_lease_token(held.token);
  release.set_disposition(static_cast<v1::Disposition>(9));
  EXPECT_THAT(client().Release(release), FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
  EXPECT_THAT(client().Release(held.token), IsOk()) << "it was not released";
}

TEST_F(BadInputTest, ExecuteNamesTheField) {
  const Held held = Acquire();
  struct Fault {
    const char* field;
    std::function<void(v1::ExecuteRequest&)> make;
  };
  using Request = v1::ExecuteRequest;
  const Fault faults[] = {
      {"sql", [](Request& request) { request.set_sql(std::string("SELECT '\0'", 10)); }},
      {"params",
       [](Request& request) {
         for (int i = 0; i < 65'536; ++i) *request.add_params() = Bool(true);
       }},
      {"params[1]",
       [](Request& request) {
         *request.add_params() = Int(1);
         request.add_params();
       }},
      {"params[0]", [](Request& request) { *request.add_params() = Text(std::string("a\0b", 3)); }},
      {"batch_rows", [](Request& request) { request.set_batch_rows(-1); }},
      {"max_rows", [](Request& request) { request.set_max_rows(-1); }},
      {"statement_timeout", [](Request& request) { *request.mutable_statement_timeout() = Raw(0, 0); }},
      {"statement_timeout", [](Request& request) { *request.mutable_statement_timeout() = Raw(-1, 0); }},
  };
  for (const Fault& fault : faults) {
    SCOPED_TRACE(fault.field);
    Request request = Statement(held.token, "SELECT 1");
    fault.make(request);
    const Result refused = client().Execute(request);
    EXPECT_THAT(refused, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
    EXPECT_THAT(refused.fields, ElementsAre(fault.field));
  }
  EXPECT_EQ(client().Execute(held.token, "SELECT 1").Value(), "int_value: 1");
  EXPECT_THAT(client().Release(held.token), IsOk());
}

TEST_F(BadInputTest, AMessageOverTheLimitIsRefusedBeforeItIsRead) {
  const Held held = Acquire();
  EXPECT_THAT(client().Execute(held.token, "SELECT 1", {Text(std::string(5'000'000, 'x'))}),
              FailsWith(StatusCode::RESOURCE_EXHAUSTED));
  EXPECT_THAT(client().Release(held.token), IsOk());
}

}  // namespace
}  // namespace pglessor::system
