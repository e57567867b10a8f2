// Session: a lease bound to a stream, requests one after the other.
#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "pglessor/v1/error_details.pb.h"
#include "tests/system/support/background.h"
#include "tests/system/support/service.h"
#include "tests/system/support/system_test.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::ElementsAre;

// Our Status is google.rpc.Status on the wire, which is what a trailer holds.
grpc::Status StatusOf(const v1::SessionResponse& response) {
  const v1::Status& error = response.error();
  return {static_cast<StatusCode>(error.code()), error.message(),
          error.details().empty() ? "" : error.SerializeAsString()};
}

// One stream, from the client's side.
class Stream {
 public:
  explicit Stream(Client& client)
      : context_(Client::NewContext()), stream_(client.sql().Session(context_.get())) {}
  ~Stream() {
    if (!finished_) Break();
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  bool Send(int64_t id, v1::SessionRequest request) {
    request.set_id(id);
    return stream_->Write(request);
  }
  void Acquire(int64_t id, const v1::AcquireRequest& acquire = {}) {
    v1::SessionRequest request;
    *request.mutable_acquire() = acquire;
    Send(id, request);
  }
  void Execute(int64_t id, const std::string& sql, const std::vector<v1::Value>& params = {}) {
    v1::SessionRequest request;
    *request.mutable_execute() = Statement("", sql, params);
    request.mutable_execute()->clear_on();
    Send(id, request);
  }
  void Release(int64_t id) {
    v1::SessionRequest request;
    request.mutable_release();
    Send(id, request);
  }
  void Renew(int64_t id, std::chrono::nanoseconds ttl) {
    v1::SessionRequest request;
    *request.mutable_renew()->mutable_ttl() = Span(ttl);
    Send(id, request);
  }
  void Cancel(int64_t id) {
    v1::SessionRequest request;
    request.mutable_cancel()->set_id(id);
    Send(0, request);
  }
  void HalfClose() { stream_->WritesDone(); }
  // As a client that is killed.
  void Break() {
    context_->TryCancel();
    Finish();
  }

  // The next message; one without a kind where the stream has ended.
  v1::SessionResponse Read() {
    v1::SessionResponse response;
    if (!stream_->Read(&response)) response.Clear();
    return response;
  }
  // The whole answer to one statement.
  Result ReadResult(int64_t id) {
    Result result;
    for (;;) {
      v1::SessionResponse response = Read();
      EXPECT_EQ(response.id(), id) << response.ShortDebugString();
      if (response.has_error()) {
        static_cast<Outcome&>(result) = OutcomeOf(StatusOf(response));
        return result;
      }
      if (!response.has_result()) {
        ADD_FAILURE() << "no result: " << response.ShortDebugString();
        result.status = grpc::Status(StatusCode::INTERNAL, "no result");
        return result;
      }
      v1::ExecuteResponse& part = *response.mutable_result();
      if (part.has_header()) result.header = part.header();
      for (const v1::Row& row : part.rows().rows()) result.rows.push_back(row);
      if (part.has_summary()) {
        result.summary = part.summary();
        return result;
      }
    }
  }
  Outcome ReadError(int64_t id) {
    const v1::SessionResponse response = Read();
    EXPECT_EQ(response.id(), id) << response.ShortDebugString();
    EXPECT_TRUE(response.has_error()) << response.ShortDebugString();
    return OutcomeOf(StatusOf(response));
  }
  // Acquires, and takes the answer.
  v1::Lease Begin(const v1::AcquireRequest& acquire = {}) {
    Acquire(1, acquire);
    const v1::SessionResponse response = Read();
    EXPECT_TRUE(response.has_acquired()) << response.ShortDebugString();
    return response.acquired().lease();
  }
  Result Run(const std::string& sql) {
    Execute(7, sql);
    return ReadResult(7);
  }

  grpc::Status Finish() {
    finished_ = true;
    return stream_->Finish();
  }

 private:
  Client::Context context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SessionRequest, v1::SessionResponse>> stream_;
  bool finished_ = false;
};

// One stream whose requests are whatever bytes.
class RawStream {
 public:
  explicit RawStream(Client& client)
      : context_(Client::NewContext()),
        stub_(client.channel()),
        stream_(stub_.PrepareCall(context_.get(), "/pglessor.v1.SqlService/Session", &queue_)) {
    stream_->StartCall(this);
    Await();
  }
  ~RawStream() {
    queue_.Shutdown();
    Await();
  }
  RawStream(const RawStream&) = delete;
  RawStream& operator=(const RawStream&) = delete;

  void Send(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    stream_->Write(grpc::ByteBuffer(&slice, 1), this);
    EXPECT_TRUE(Await());
  }
  void HalfClose() {
    stream_->WritesDone(this);
    EXPECT_TRUE(Await());
  }
  // The next message; one without a kind where the stream has ended.
  v1::SessionResponse Read() {
    grpc::ByteBuffer bytes;
    stream_->Read(&bytes, this);
    v1::SessionResponse response;
    std::vector<grpc::Slice> slices;
    if (!Await() || !bytes.Dump(&slices).ok()) return response;
    std::string all;
    for (const grpc::Slice& slice : slices) all.append(slice.begin(), slice.end());
    EXPECT_TRUE(response.ParseFromString(all));
    return response;
  }
  grpc::Status Finish() {
    grpc::Status status;
    stream_->Finish(&status, this);
    Await();
    return status;
  }

 private:
  // One operation is under way at a time.
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  Client::Context context_;
  grpc::CompletionQueue queue_;
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

class SessionTest : public SystemTest {
 protected:
  void SetUp() override { Serve(1, 1); }
};

TEST_F(SessionTest, AcquiresRunsReleasesAndBeginsAgain) {
  Stream stream(client());
  stream.Acquire(10);
  const v1::SessionResponse acquired = stream.Read();
  EXPECT_EQ(acquired.id(), 10);
  const v1::Lease first = acquired.acquired().lease();
  EXPECT_EQ(first.state(), v1::LEASE_STATE_ACTIVE);
  EXPECT_EQ(stream.Run("SELECT pg_backend_pid()").Value(), absl::StrCat("int_value: ", first.backend_pid()));
  stream.Release(11);
  const v1::SessionResponse released = stream.Read();
  EXPECT_EQ(released.id(), 11);
  EXPECT_EQ(released.released().lease().end_reason(), v1::END_REASON_RELEASED);
  EXPECT_FALSE(released.released().rolled_back());

  const v1::Lease second = stream.Begin();
  EXPECT_NE(second.lease_id(), first.lease_id());
  EXPECT_GT(second.fencing_token(), first.fencing_token());
  stream.HalfClose();
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(client().Stats().in_use(), 0);
  EXPECT_TRUE(AwaitRest());
}

TEST_F(SessionTest, PipelinedRequestsAreAnsweredInOrder) {
  Stream stream(client());
  stream.Acquire(1);
  stream.Execute(2, "CREATE TEMPORARY TABLE counted (n int4)");
  for (int i = 0; i < 100; ++i) stream.Execute(100 + i, "INSERT INTO counted VALUES ($1)", {Int(i)});
  stream.Execute(3, "SELECT count(*) FROM counted");
  stream.Release(4);
  stream.Acquire(5);
  stream.Execute(6, "SELECT to_regclass('counted') IS NULL");
  stream.HalfClose();

  EXPECT_EQ(stream.Read().acquired().lease().state(), v1::LEASE_STATE_ACTIVE);
  EXPECT_THAT(stream.ReadResult(2), IsOk());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(stream.ReadResult(100 + i).summary.command_tag(), "INSERT 0 1");
  EXPECT_EQ(stream.ReadResult(3).Value(), "int_value: 100");
  EXPECT_TRUE(stream.Read().has_released());
  EXPECT_TRUE(stream.Read().has_acquired());
  EXPECT_EQ(stream.ReadResult(6).Value(), "bool_value: true") << "another lease, another session";
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_TRUE(AwaitRest());
}

TEST_F(SessionTest, ThousandsOfPipelinedRequestsWaitTheirTurn) {
  constexpr int kRequests = 5000;
  Stream stream(client());
  stream.Begin();
  std::thread sender([&] {
    for (int i = 0; i < kRequests; ++i) {
      stream.Execute(i, "SELECT $1::int4, repeat('x', 2000)", {Int(i)});
    }
    stream.HalfClose();
  });
  for (int i = 0; i < kRequests; ++i) {
    const Result result = stream.ReadResult(i);
    EXPECT_EQ(result.rows.size(), 1U);
    EXPECT_EQ(result.rows.at(0).values(0).int_value(), i);
  }
  sender.join();
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(SessionTest, ManyLeasesInOnePipelineAreNoDeeperThanOne) {
  Stream stream(client());
  constexpr int kLeases = 500;
  std::thread sender([&] {
    for (int i = 0; i < kLeases; ++i) {
      stream.Acquire(i);
      stream.Release(i);
    }
    stream.HalfClose();
  });
  uint64_t last = 0;
  for (int i = 0; i < kLeases; ++i) {
    const v1::SessionResponse acquired = stream.Read();
    EXPECT_TRUE(acquired.has_acquired()) << acquired.ShortDebugString();
    EXPECT_GT(acquired.acquired().lease().fencing_token(), last);
    last = acquired.acquired().lease().fencing_token();
    EXPECT_TRUE(stream.Read().has_released());
  }
  sender.join();
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(SessionTest, ATransactionSpansStatementsAndIsRolledBackAtItsEnd) {
  database().MakeTable("deeds", "deed text");
  Stream stream(client());
  stream.Begin();
  EXPECT_TRUE(stream.Run("BEGIN").summary.in_transaction());
  EXPECT_THAT(stream.Run("INSERT INTO deeds VALUES ('unfinished')"), IsOk());
  stream.Release(9);
  EXPECT_TRUE(stream.Read().released().rolled_back());
  stream.Begin();
  EXPECT_THAT(stream.Run("BEGIN"), IsOk());
  EXPECT_THAT(stream.Run("INSERT INTO deeds VALUES ('unfinished')"), IsOk());
  stream.HalfClose();
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
}

TEST_F(SessionTest, AFailedStatementIsAMessageAndTheStreamGoesOn) {
  Stream stream(client());
  stream.Begin();
  stream.Execute(2, "SELECT 1 / 0");
  stream.Execute(3, "SELECT 3");
  const Outcome failed = stream.ReadResult(2);
  EXPECT_THAT(failed, FailsWith(StatusCode::INVALID_ARGUMENT, "SQL_ERROR"));
  EXPECT_EQ(failed.Metadata("sqlstate"), "22012");
  EXPECT_EQ(stream.ReadResult(3).Value(), "int_value: 3");
  EXPECT_THAT(stream.Run("COPY pg_class TO STDOUT"), FailsWith(StatusCode::UNIMPLEMENTED, "USE_GATEWAY"));
  EXPECT_THAT(stream.Run("SELECT repeat('x', 5000000)"),
              FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"));
  EXPECT_EQ(stream.Run("SELECT length(repeat('x', 5000000))").Value(), "int_value: 5000000");
}

TEST_F(SessionTest, WithoutALeaseThereIsNothingToRunOn) {
  Stream stream(client());
  stream.Execute(1, "SELECT 1");
  EXPECT_THAT(stream.ReadError(1), FailsWith(StatusCode::FAILED_PRECONDITION, "NO_LEASE"));
  stream.Release(2);
  EXPECT_THAT(stream.ReadError(2), FailsWith(StatusCode::FAILED_PRECONDITION, "NO_LEASE"));
  stream.Renew(3, std::chrono::seconds(5));
  EXPECT_THAT(stream.ReadError(3), FailsWith(StatusCode::FAILED_PRECONDITION, "NO_LEASE"));
  stream.Cancel(99);  // ignored
  stream.Begin();
  stream.Acquire(4);
  EXPECT_THAT(stream.ReadError(4), FailsWith(StatusCode::FAILED_PRECONDITION, "LEASE_HELD"));
  EXPECT_THAT(stream.Run("SELECT 1"), IsOk());
}

TEST_F(SessionTest, FaultsNameTheField) {
  Stream stream(client());
  const auto fields = [&](v1::SessionRequest request) {
    stream.Send(5, std::move(request));
    const Outcome error = stream.ReadError(5);
    EXPECT_THAT(error, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
    return error.fields;
  };
  EXPECT_THAT(fields({}), ElementsAre("message"));
  v1::SessionRequest request;
  *request.mutable_acquire()->mutable_ttl() = Span(milliseconds(0));
  EXPECT_THAT(fields(request), ElementsAre("acquire.ttl"));
  request.mutable_execute()->set_lease_token("token");
  EXPECT_THAT(fields(request), ElementsAre("execute.on"));
  request.mutable_execute()->mutable_once();
  EXPECT_THAT(fields(request), ElementsAre("execute.on"));
  request.mutable_execute()->clear_on();
  request.mutable_execute()->set_max_rows(-1);
  EXPECT_THAT(fields(request), ElementsAre("execute.max_rows"));
  request.mutable_release()->set_lease_token("token");
  EXPECT_THAT(fields(request), ElementsAre("release.lease_token"));
  request.mutable_renew()->set_lease_token("token");
  EXPECT_THAT(fields(request), ElementsAre("renew.subject"));
  request.mutable_renew()->clear_subject();
  *request.mutable_renew()->mutable_ttl() = Span(milliseconds(0));
  EXPECT_THAT(fields(request), ElementsAre("renew.ttl"));
  EXPECT_EQ(client().Stats().counters().acquires_requested(), 0);
}

// gRPC says of what cannot be parsed what it says of a half-close.
TEST_F(SessionTest, ARequestThatCannotBeParsedIsAnsweredAndTheStreamGoesOn) {
  const auto execute = [](int64_t id, const std::string& sql) {
    v1::SessionRequest request;
    request.set_id(id);
    request.mutable_execute()->set_sql(sql);
    return request.SerializeAsString();
  };
  v1::SessionRequest acquire;
  acquire.mutable_acquire();
  RawStream stream(client());
  stream.Send(acquire.SerializeAsString());
  EXPECT_TRUE(stream.Read().has_acquired());
  stream.Send(execute(1, "BEGIN"));
  stream.Send(execute(2, "SELECT '\xff'"));
  stream.Send("\xff");
  stream.Send(execute(4, "SELECT 4"));
  EXPECT_TRUE(stream.Read().result().has_header());
  EXPECT_TRUE(stream.Read().result().has_summary());
  for (const int64_t id : {2, 0}) {  // in its turn, and with its id where that can be read
    const v1::SessionResponse refused = stream.Read();
    EXPECT_EQ(refused.id(), id);
    const Outcome outcome = OutcomeOf(StatusOf(refused));
    EXPECT_THAT(outcome, FailsWith(StatusCode::INVALID_ARGUMENT, "FIELD_INVALID"));
    EXPECT_THAT(outcome.fields, ElementsAre("message"));
  }
  EXPECT_TRUE(stream.Read().result().has_header());
  EXPECT_TRUE(stream.Read().result().has_rows());
  EXPECT_TRUE(stream.Read().result().summary().in_transaction()) << "the lease and its transaction live on";
  stream.HalfClose();
  EXPECT_TRUE(stream.Finish().ok());
}

// A row that is too large is found out when the statement may have run to its end.
TEST_F(SessionTest, ARowThatIsTooLargeSaysWhetherItsStatementWasExecuted) {
  database().MakeTable("deeds", "deed text");
  Stream stream(client());
  stream.Begin();
  for (const char* rows : {"1", "4"}) {
    observer().Run("TRUNCATE deeds");
    const Result large = stream.Run(absl::StrCat(
        "INSERT INTO deeds SELECT repeat('x', 5000000) FROM generate_series(1, ", rows, ") RETURNING deed"));
    EXPECT_THAT(large, FailsWith(StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"));
    const int64_t stand = observer().Count("SELECT count(*) FROM deeds");
    EXPECT_EQ(large.Metadata("executed"), stand > 0 ? "true" : "false") << rows;
  }
}

TEST_F(SessionTest, RenewIsAnsweredWhileAStatementRuns) {
  Stream stream(client());
  const v1::Lease lease = stream.Begin(AcquireFor(std::chrono::seconds(50)));
  stream.Execute(2, "SELECT pg_sleep(600)");
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  stream.Renew(3, std::chrono::seconds(40));
  const v1::SessionResponse renewed = stream.Read();
  EXPECT_EQ(renewed.id(), 3);
  EXPECT_EQ(Nanoseconds(renewed.renewed().lease().ttl()), std::chrono::seconds(40));
}

TEST_F(SessionTest, CancelEndsTheRunningStatementAndLeavesTheRest) {
  Stream stream(client());
  const v1::Lease lease = stream.Begin();
  stream.Execute(2, "SELECT pg_sleep(600)");
  stream.Execute(3, "SELECT 3");
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  stream.Cancel(2);
  EXPECT_THAT(stream.ReadResult(2), FailsWith(StatusCode::CANCELLED, "SQL_ERROR"));
  EXPECT_EQ(stream.ReadResult(3).Value(), "int_value: 3");
}

TEST_F(SessionTest, CancelOfAQueuedStatementKeepsItFromRunning) {
  database().MakeTable("deeds", "deed text");
  Stream stream(client());
  const v1::Lease lease = stream.Begin();
  stream.Execute(2, "SELECT pg_sleep(600)");
  stream.Execute(3, "INSERT INTO deeds VALUES ('cancelled')");
  stream.Execute(4, "SELECT 4");
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  stream.Cancel(3);
  stream.Cancel(2);
  EXPECT_THAT(stream.ReadResult(2), FailsWith(StatusCode::CANCELLED));
  EXPECT_THAT(stream.ReadResult(3), FailsWith(StatusCode::CANCELLED, "CANCELLED")) << "in its turn";
  EXPECT_EQ(stream.ReadResult(4).Value(), "int_value: 4");
  EXPECT_EQ(observer().Count("SELECT count(*) FROM deeds"), 0);
}

TEST_F(SessionTest, CancelOfAStatementWhoseRowsNobodyReads) {
  Stream stream(client());
  const v1::Lease lease = stream.Begin();
  stream.Execute(2, "SELECT repeat('x', 1000), generate_series(1, 100000000)");
  EXPECT_TRUE(
      Eventually([&] { return observer().Activity(lease.backend_pid(), "wait_event") == "ClientWrite"; }));
  stream.Cancel(2);
  EXPECT_TRUE(observer().AwaitIdle(lease.backend_pid()));
  EXPECT_THAT(stream.ReadResult(2), FailsWith(StatusCode::CANCELLED));
  EXPECT_THAT(stream.Run("SELECT 1"), IsOk());
}

TEST_F(SessionTest, CancelOfAWaitingAcquireLeavesTheQueue) {
  const Held held = Acquire();
  Stream stream(client());
  stream.Acquire(1);
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  stream.Cancel(1);
  const Outcome cancelled = stream.ReadError(1);
  EXPECT_THAT(cancelled, FailsWith(StatusCode::CANCELLED, "CANCELLED"));
  EXPECT_THAT(cancelled.status.error_message(), testing::Not(testing::HasSubstr("gone"))) << "we are here";
  EXPECT_EQ(client().Stats().waiting(), 0);
  EXPECT_THAT(client().Release(held.token), IsOk());
  stream.Begin();
}

TEST_F(SessionTest, ALostStreamEndsItsLeaseAtOnce) {
  database().MakeTable("deeds", "deed text");
  for (const char* last : {"INSERT INTO deeds VALUES ('unfinished')", "SELECT pg_sleep(600)",
                           "SELECT repeat('x', 1000), generate_series(1, 100000000)"}) {
    Stream stream(client());
    const v1::Lease lease = stream.Begin();
    EXPECT_THAT(stream.Run("BEGIN"), IsOk());
    stream.Execute(8, last);
    EXPECT_TRUE(Eventually([&] { return observer().Activity(lease.backend_pid(), "query") == last; }));
    stream.Break();
    EXPECT_TRUE(AwaitRest()) << last;
  }
  EXPECT_EQ(client().Stats().counters().released(), 3);
}

TEST_F(SessionTest, ALostStreamLeavesTheQueue) {
  const Held held = Acquire();
  {
    Stream stream(client());
    stream.Acquire(1);
    EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  }
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 0; }));
}

TEST_F(SessionTest, ARevocationIsToldAsItHappens) {
  Stream stream(client());
  const v1::Lease lease = stream.Begin();
  v1::ExpireRequest expire;
  expire.set_lease_id(lease.lease_id());
  EXPECT_THAT(client().Expire(expire), IsOk());
  const v1::SessionResponse ended = stream.Read();
  EXPECT_EQ(ended.id(), 0);
  EXPECT_EQ(ended.ended().lease().lease_id(), lease.lease_id());
  EXPECT_EQ(ended.ended().lease().end_reason(), v1::END_REASON_REVOKED);
  stream.Execute(2, "SELECT 1");
  EXPECT_THAT(stream.ReadError(2), FailsWith(StatusCode::FAILED_PRECONDITION, "NO_LEASE"));
  EXPECT_NE(stream.Begin().lease_id(), "") << "another may follow";
}

TEST_F(SessionTest, ADeadConnectionIsToldToo) {
  Stream stream(client());
  const v1::Lease lease = stream.Begin();
  stream.Execute(2, "SELECT pg_sleep(600)");
  ASSERT_TRUE(observer().AwaitAsleep(lease.backend_pid()));
  observer().Terminate(lease.backend_pid());
  bool told = false, answered = false;
  for (int i = 0; i < 2; ++i) {  // in either order
    const v1::SessionResponse response = stream.Read();
    if (response.has_ended()) {
      told = true;
      EXPECT_EQ(response.ended().lease().end_reason(), v1::END_REASON_CONNECTION_LOST);
    } else {
      answered = true;
      EXPECT_EQ(response.id(), 2);
      EXPECT_EQ(response.error().code(), StatusCode::UNKNOWN);
    }
  }
  EXPECT_TRUE(told && answered);
}

TEST_F(SessionTest, ATtlIsAHardEndThatRenewMoves) {
  Stream stream(client());
  stream.Begin(AcquireFor(std::chrono::seconds(3)));
  stream.Renew(3, std::chrono::seconds(60));
  EXPECT_TRUE(stream.Read().has_renewed());
  EXPECT_THAT(stream.Run("SELECT pg_sleep(3.2)"), IsOk());
  stream.Renew(4, milliseconds(200));
  EXPECT_TRUE(stream.Read().has_renewed());
  const v1::SessionResponse ended = stream.Read();
  EXPECT_EQ(ended.ended().lease().end_reason(), v1::END_REASON_EXPIRED);
}

TEST_F(SessionTest, ARunningStatementsLeaseThatExpiresHasAnUnknownOutcome) {
  Stream stream(client());
  stream.Begin(AcquireFor(std::chrono::seconds(2)));
  stream.Execute(2, "SELECT pg_sleep(600)");
  const Outcome cut = stream.ReadResult(2);
  EXPECT_THAT(cut, FailsWith(StatusCode::UNKNOWN, "COMMIT_OUTCOME_UNKNOWN"));
  EXPECT_EQ(cut.Metadata("lease_reason"), "LEASE_EXPIRED");
  EXPECT_TRUE(stream.Read().has_ended());
}

TEST_F(SessionTest, WhileTheServiceDrainsAcquireIsRefusedAndStatementsGoOn) {
  server_.reset();
  Serve(1, 1, {"--drain-timeout=60s"});
  Stream stream(client());
  stream.Begin();
  Stream waiting(client());
  waiting.Acquire(1);
  EXPECT_TRUE(Eventually([&] { return client().Stats().waiting() == 1; }));
  server().process().Signal(SIGTERM);
  EXPECT_THAT(waiting.ReadError(1), FailsWith(StatusCode::UNAVAILABLE, "DRAINING"));
  waiting.Acquire(2);
  EXPECT_THAT(waiting.ReadError(2), FailsWith(StatusCode::UNAVAILABLE, "DRAINING"));
  EXPECT_THAT(stream.Run("SELECT 1"), IsOk());
  stream.HalfClose();
  EXPECT_TRUE(stream.Finish().ok());
  waiting.Break();
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST_F(SessionTest, AtTheDrainsEndTheLeaseEndsDrained) {
  server_.reset();
  Serve(1, 1, {"--drain-timeout=300ms"});
  Stream stream(client());
  stream.Begin();
  server().process().Signal(SIGTERM);
  EXPECT_EQ(stream.Read().ended().lease().end_reason(), v1::END_REASON_DRAINED);
  EXPECT_EQ(server().process().AwaitEnd(), 0);
}

TEST(SessionRenewalTest, ALeaseWithoutATtlLivesAsLongAsItsStreamOrItsCall) {
  core::PoolOptions options;
  options.min_connections = options.max_connections = 1;
  options.default_ttl = milliseconds(300);
  Service server(options);
  Client client(server.address());
  {
    Stream stream(client);
    const v1::Lease lease = stream.Begin();
    EXPECT_EQ(Nanoseconds(lease.ttl()), milliseconds(300));
    EXPECT_THAT(stream.Run("SELECT pg_sleep(1)"), IsOk()) << "while a statement runs";
    stream.HalfClose();
    EXPECT_TRUE(stream.Finish().ok());
  }
  v1::ExecuteRequest once = Statement("", "SELECT pg_sleep(1)");
  once.mutable_once();
  EXPECT_THAT(client.Execute(once), IsOk());
  EXPECT_EQ(client.Stats().counters().expired(), 0);
}

}  // namespace
}  // namespace pglessor::system
