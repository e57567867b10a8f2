// A lessor on fakes, with one pool, and the words to talk about it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"

#include "server/core/lessor.h"
#include "tests/support/answer.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_connector.h"
#include "tests/support/fake_fencing_source.h"
#include "tests/support/manual_executor.h"
#include "tests/support/recording_sink.h"
#include "tests/support/toy_token_key.h"

namespace pglessor::core {

class LessorTest : public testing::Test {
 protected:
  using AcquireAnswer = test::Answer<absl::StatusOr<LeaseView>>;
  using ReleaseAnswer = test::Answer<absl::StatusOr<Lessor::Released>>;
  using ExpireAnswer = test::Answer<absl::StatusOr<Lessor::Expired>>;

  static AcquireRequest WithTtl(std::optional<Duration> ttl) {
    AcquireRequest request;
    request.ttl = ttl;
    return request;
  }
  static AcquireRequest WithWait(Duration wait) {
    AcquireRequest request;
    request.wait = wait;
    return request;
  }
  static AcquireRequest OfPool(const std::string& pool) {
    AcquireRequest request;
    request.pool = pool;
    return request;
  }
  static Statement Sql(const std::string& sql) {
    Statement statement;
    statement.sql = sql;
    return statement;
  }

  // With the minimum open and a fencing block there.
  void StartPool(const PoolOptions& options) {
    lessor_->AddPool(options, connector_, fencing_);
    executor_.RunDue();
  }

  AcquireAnswer Acquire(AcquireRequest request = {}) {
    AcquireAnswer answer;
    last_attempt_ = lessor_->Acquire(std::move(request), answer.Callback());
    executor_.RunDue();
    return answer;
  }

  // The lease, which must have been granted.
  static LeaseView Granted(const AcquireAnswer& answer) {
    if (!answer.here() || !answer->ok()) {
      ADD_FAILURE() << (answer.here() ? answer->status().ToString() : "no answer");
      return {};
    }
    return **answer;
  }

  ReleaseAnswer Release(LeaseCounter lease, Disposition disposition = Disposition::kReturn) {
    ReleaseAnswer answer;
    lessor_->Release(lease, disposition, answer.Callback());
    executor_.RunDue();
    return answer;
  }

  ExpireAnswer Expire(LeaseCounter lease, EndReason reason = EndReason::kRevoked) {
    ExpireAnswer answer;
    lessor_->Expire(lease, {reason}, /*validate_only=*/false, answer.Callback());
    executor_.RunDue();
    return answer;
  }

  // Its sink, which has ended unless the connection holds statements.
  std::shared_ptr<test::RecordingSink> Execute(LeaseCounter lease, const std::string& sql) {
    auto sink = std::make_shared<test::RecordingSink>();
    const auto running = lessor_->Execute(lease, Sql(sql), sink);
    EXPECT_TRUE(running.ok()) << running.status();
    executor_.RunDue();
    return sink;
  }

  std::shared_ptr<test::FakeConnection> ConnectionOf(const LeaseView& lease) const {
    return connector_.WithPid(lease.grant.backend_pid);
  }

  PoolView View() { return lessor_->Stats("default")->front(); }
  PoolSnapshot Snapshot() { return View().snapshot; }
  int32_t In(SlotState state) { return Snapshot().in(state); }
  int32_t InUse() { return In(SlotState::kInUse); }
  int64_t Ended(EndReason reason) { return Snapshot().counters.ended[static_cast<size_t>(reason)]; }

  void TearDown() override {
    if (lessor_ == nullptr) return;  // the test ended it itself
    if (const auto pools = lessor_->Stats(""); !pools->empty()) ExpectSums(pools->front());
  }

  // S11.
  static void ExpectSums(const PoolView& view) {
    const PoolSnapshot& snapshot = view.snapshot;
    const PoolCounters& c = snapshot.counters;
    int32_t slots = 0;
    for (const int32_t in : snapshot.slots_in) slots += in;
    EXPECT_EQ(snapshot.total, slots);
    EXPECT_LE(snapshot.total, view.options.max_connections);
    EXPECT_EQ(c.acquires_requested, c.granted + c.timed_out + c.cancelled + c.rejected + snapshot.waiting);
    int64_t ended = 0;
    for (const int64_t count : c.ended) ended += count;
    EXPECT_EQ(c.granted, snapshot.in(SlotState::kInUse) + ended);
  }

  test::FakeClock clock_;
  test::ManualExecutor executor_{clock_};
  test::FakeConnector connector_{executor_};
  test::FakeFencingSource fencing_{executor_};
  test::ToyTokenKey key_;
  Events events_;
  LessorOptions options_{{"replica", 7}, "10.0.0.1:7432", {}};
  std::unique_ptr<Lessor> lessor_ = std::make_unique<Lessor>(options_, clock_, key_, events_);
  Lessor::AttemptRef last_attempt_;
};

}  // namespace pglessor::core
