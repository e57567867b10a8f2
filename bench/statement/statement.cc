// What one short statement costs one caller, by each way that there is, beside what it is made of.
//
//   sleep inf | rpc_floor_server --listen=127.0.0.1:7001 --api=cq &
//   pglessor --dsn=DSN --listen 127.0.0.1:7002 &
//   statement_bench --floor=127.0.0.1:7001 --pglessor=127.0.0.1:7002 --dsn=DSN
//
// A row a round: the p50 of each in microseconds. Pin them all with taskset: where the kernel puts them
// matters more than what they do.
#include <grpcpp/grpcpp.h>
#include <libpq-fe.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"

#include "floor.grpc.pb.h"
#include "pglessor/v1/lease_service.grpc.pb.h"
#include "pglessor/v1/sql_service.grpc.pb.h"

ABSL_FLAG(std::string, floor, "", "address of rpc_floor_server");
ABSL_FLAG(std::string, pglessor, "", "address of pglessor");
ABSL_FLAG(std::string, dsn, "", "the same database, asked directly");
ABSL_FLAG(std::string, sql, "SELECT 1", "the statement");
ABSL_FLAG(int, rounds, 5, "how often each is measured");
ABSL_FLAG(int, times, 3000, "statements in a round");

namespace pglessor::bench {
namespace {

using std::chrono::steady_clock;

void Require(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "statement_bench: %s\n", what.c_str());
  std::exit(1);
}

double MedianMicroseconds(int times, const std::function<void()>& run) {
  for (int i = 0; i < times / 10 + 1; ++i) run();
  std::vector<double> took;
  for (int i = 0; i < times; ++i) {
    const auto start = steady_clock::now();
    run();
    took.push_back(std::chrono::duration<double, std::micro>(steady_clock::now() - start).count());
  }
  std::nth_element(took.begin(), took.begin() + times / 2, took.end());
  return took[static_cast<size_t>(times) / 2];
}

class Callers {
 public:
  Callers()
      : floor_(Floor::NewStub(Channel(absl::GetFlag(FLAGS_floor)))),
        leases_(v1::LeaseService::NewStub(Channel(absl::GetFlag(FLAGS_pglessor)))),
        sql_(v1::SqlService::NewStub(Channel(absl::GetFlag(FLAGS_pglessor)))),
        direct_(PQconnectdb(absl::GetFlag(FLAGS_dsn).c_str()), &PQfinish),
        session_(sql_->Session(&session_context_)) {
    Require(PQstatus(direct_.get()) == CONNECTION_OK, PQerrorMessage(direct_.get()));
    grpc::ClientContext context;
    v1::AcquireRequest request;
    request.mutable_ttl()->set_seconds(3600);
    v1::AcquireResponse acquired;
    const grpc::Status status = leases_->Acquire(&context, request, &acquired);
    Require(status.ok(), status.error_message());
    on_lease_ = Statement();
    on_lease_.set_lease_token(acquired.lease_token());
    once_ = Statement();
    once_.mutable_once();
    acquire_.mutable_acquire();
    release_.mutable_release();
    *execute_.mutable_execute() = Statement();
    v1::SessionResponse response;
    Require(session_->Write(acquire_) && session_->Read(&response) && response.has_acquired(), "no session");
  }

  void Empty() {
    grpc::ClientContext context;
    AcquireResponse response;
    Require(floor_->Acquire(&context, {}, &response).ok(), "no floor");
  }
  void Direct() {
    PGresult* const result = PQexecParams(direct_.get(), absl::GetFlag(FLAGS_sql).c_str(), 0, nullptr,
                                          nullptr, nullptr, nullptr, 0);
    Require(PQresultStatus(result) == PGRES_TUPLES_OK, PQerrorMessage(direct_.get()));
    PQclear(result);
  }
  void OnLease() { Execute(on_lease_); }
  void Once() { Execute(once_); }
  void InSession() {
    Require(session_->Write(execute_), "the session is over");
    AwaitSummary();
  }
  // A lease of its own, in one go.
  void SessionLease() {
    v1::SessionResponse response;
    session_->Write(release_);
    session_->Write(acquire_);
    session_->Write(execute_);
    Require(session_->Read(&response) && response.has_released(), "not released");
    Require(session_->Read(&response) && response.has_acquired(), "not acquired");
    AwaitSummary();
  }

 private:
  static std::shared_ptr<grpc::Channel> Channel(const std::string& address) {
    return grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  }
  static v1::ExecuteRequest Statement() {
    v1::ExecuteRequest request;
    request.set_sql(absl::GetFlag(FLAGS_sql));
    return request;
  }
  void Execute(const v1::ExecuteRequest& request) {
    grpc::ClientContext context;
    const auto reader = sql_->Execute(&context, request);
    v1::ExecuteResponse part;
    while (reader->Read(&part)) continue;
    const grpc::Status status = reader->Finish();
    Require(status.ok(), status.error_message());
  }
  void AwaitSummary() {
    v1::SessionResponse response;
    do {
      Require(session_->Read(&response) && response.has_result(), "no result");
    } while (!response.result().has_summary());
  }

  const std::unique_ptr<Floor::Stub> floor_;
  const std::unique_ptr<v1::LeaseService::Stub> leases_;
  const std::unique_ptr<v1::SqlService::Stub> sql_;
  const std::unique_ptr<PGconn, decltype(&PQfinish)> direct_;
  grpc::ClientContext session_context_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::SessionRequest, v1::SessionResponse>> session_;
  v1::ExecuteRequest on_lease_, once_;
  v1::SessionRequest acquire_, execute_, release_;
};

int Main() {
  Callers callers;
  const int times = absl::GetFlag(FLAGS_times);
  std::printf("%8s %8s %8s %8s %8s %14s\n", "empty", "direct", "Execute", "once", "Session", "Session+lease");
  for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
    std::printf("%8.1f %8.1f %8.1f %8.1f %8.1f %14.1f\n", MedianMicroseconds(times, [&] { callers.Empty(); }),
                MedianMicroseconds(times, [&] { callers.Direct(); }),
                MedianMicroseconds(times, [&] { callers.OnLease(); }),
                MedianMicroseconds(times, [&] { callers.Once(); }),
                MedianMicroseconds(times, [&] { callers.InSession(); }),
                MedianMicroseconds(times, [&] { callers.SessionLease(); }));
    std::fflush(stdout);
  }
  std::quick_exit(0);  // the session's stream need not end well
}

}  // namespace
}  // namespace pglessor::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return pglessor::bench::Main();
}
