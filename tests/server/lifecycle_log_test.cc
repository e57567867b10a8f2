#include "server/ops/lifecycle_log.h"

#include <unistd.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <nlohmann/json.hpp>

namespace pglessor::ops {
namespace {

using core::Event;
using core::EventType;
using namespace std::chrono_literals;
using testing::HasSubstr;

// What is written to stderr meanwhile.
std::string Logged(LogLevel level, LogFormat format, const Event& event) {
  const Log log(level, format);
  LifecycleLog lifecycle(log, {"replica", 7});
  core::Events events;
  lifecycle.Subscribe(events);
  testing::internal::CaptureStderr();
  if (events.Wants(event.type)) events.Emit(event);
  return testing::internal::GetCapturedStderr();
}

Event Opened() {
  return {.type = EventType::kConnectionOpened,
          .pool = "default",
          .connection_id = "conn_11_17",
          .backend_pid = 4711,
          .reason = "on demand",
          .generation = 1,
          .age = 0ms,
          .total = 11,
          .max = 20};
}

TEST(LifecycleLog, WritesAnEventAsOneLineOfJson) {
  const auto line = nlohmann::json::parse(Logged(LogLevel::kInfo, LogFormat::kJson, Opened()));
  EXPECT_EQ(line["message"], "New connection conn_11_17 created on demand (total: 11/20)");
  EXPECT_EQ(line["level"], "info");
  EXPECT_EQ(line["event"], "connection_opened");
  EXPECT_EQ(line["pool"], "default");
  EXPECT_EQ(line["connection"], "conn_11_17");
  EXPECT_EQ(line["backend_pid"], "4711");
}

TEST(LifecycleLog, KeepsTheFamiliarSentences) {
  const auto text = [](const Event& event) { return Logged(LogLevel::kDebug, LogFormat::kText, event); };
  EXPECT_THAT(text({.type = EventType::kConnectionLeased, .connection_id = "conn_1_17"}),
              HasSubstr("Connection conn_1_17 obtained from pool"));
  EXPECT_THAT(text({.type = EventType::kPoolSaturated, .max = 20}),
              HasSubstr("Pool at maximum limit (20/20), waiting for available connection..."));
  EXPECT_THAT(text(Opened()), HasSubstr("New connection conn_11_17 created on demand (total: 11/20)"));
}

TEST(LifecycleLog, NamesTheLeaseItsHolderAndHowItEnded) {
  const auto line = nlohmann::json::parse(Logged(LogLevel::kDebug, LogFormat::kJson,
                                                 {.type = EventType::kLeaseEnded,
                                                  .lease = core::LeaseCounter{3},
                                                  .tenant = "t",
                                                  .holder = "billing",
                                                  .reason = "it leaks",
                                                  .end_reason = core::EndReason::kRevoked,
                                                  .fencing_token = core::FencingToken{99},
                                                  .held = 1500ms}));
  EXPECT_EQ(line["lease"], "replica-0000000000000007-3");
  EXPECT_EQ(line["tenant"], "t");
  EXPECT_EQ(line["holder"], "billing");
  EXPECT_EQ(line["end_reason"], "LEASE_REVOKED");
  EXPECT_EQ(line["reason"], "it leaks");
  EXPECT_EQ(line["fencing_token"], "99");
  EXPECT_EQ(line["held_ms"], "1500");
}

TEST(LifecycleLog, WantsNothingOfWhatItsLevelHides) {
  EXPECT_EQ(Logged(LogLevel::kInfo, LogFormat::kJson, {.type = EventType::kLeaseGranted}), "");
  EXPECT_EQ(Logged(LogLevel::kInfo, LogFormat::kJson, {.type = EventType::kLeaseReleased}), "");
  EXPECT_NE(Logged(LogLevel::kInfo, LogFormat::kJson, {.type = EventType::kLeaseEnded}), "") << "taken away";
  EXPECT_EQ(Logged(LogLevel::kError, LogFormat::kJson, Opened()), "");
  EXPECT_NE(Logged(LogLevel::kError, LogFormat::kJson, {.type = EventType::kConnectionStuck}), "");
}

}  // namespace
}  // namespace pglessor::ops
