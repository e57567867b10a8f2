// How fast a pool grows and is replaced: fifty callers on ten connections that may become twenty, then a
// Reset back to ten while callers go on.
//
//   pglessor --embedded --listen 127.0.0.1:7002 --min-connections 10 --max-connections 20 &
//   pool_size --pglessor=127.0.0.1:7002
//
// Prints a row a round: how long the fifty took (each runs SELECT 1 and holds for 10 ms; on twenty
// connections 30 ms are unavoidable), how many connections they opened, how long the Reset took, and what
// it failed.
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"

#include "pglessor/v1/lease_service.grpc.pb.h"
#include "pglessor/v1/sql_service.grpc.pb.h"

ABSL_FLAG(std::string, pglessor, "", "address of pglessor");
ABSL_FLAG(int, rounds, 5, "how often it is measured");
ABSL_FLAG(int, load, 4, "callers that go on during the Reset");

namespace pglessor::bench {
namespace {

using std::chrono::steady_clock;

constexpr int kCallers = 50;
constexpr std::chrono::milliseconds kHold(10);

double MillisecondsSince(steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
}

class Caller {
 public:
  explicit Caller(const std::shared_ptr<grpc::Channel>& channel)
      : leases_(v1::LeaseService::NewStub(channel)), sql_(v1::SqlService::NewStub(channel)) {}

  // False if anything failed.
  bool UseOnce(std::chrono::milliseconds hold) {
    v1::AcquireResponse acquired;
    {
      grpc::ClientContext context;
      if (!leases_->Acquire(&context, {}, &acquired).ok()) return false;
    }
    v1::ExecuteRequest execute;
    execute.set_lease_token(acquired.lease_token());
    execute.set_sql("SELECT 1");
    grpc::ClientContext execute_context;
    const auto stream = sql_->Execute(&execute_context, execute);
    v1::ExecuteResponse part;
    while (stream->Read(&part)) continue;
    const bool executed = stream->Finish().ok();
    std::this_thread::sleep_for(hold);
    v1::ReleaseRequest release;
    release.set_lease_token(acquired.lease_token());
    grpc::ClientContext context;
    v1::ReleaseResponse released;
    return leases_->Release(&context, release, &released).ok() && executed;
  }

  int64_t Opened() {
    grpc::ClientContext context;
    v1::StatsResponse stats;
    const grpc::Status status = leases_->Stats(&context, {}, &stats);
    if (!status.ok() || stats.pools().empty()) {
      std::fprintf(stderr, "pool_size: %s\n", status.error_message().c_str());
      std::exit(1);
    }
    return stats.pools(0).counters().connections_opened();
  }

  bool Reset() {
    grpc::ClientContext context;
    v1::ResetRequest reset;
    reset.set_pool("default");
    v1::ResetResponse done;
    return leases_->Reset(&context, reset, &done).ok();
  }

 private:
  std::unique_ptr<v1::LeaseService::Stub> leases_;
  std::unique_ptr<v1::SqlService::Stub> sql_;
};

int Main() {
  const auto channel = grpc::CreateChannel(absl::GetFlag(FLAGS_pglessor), grpc::InsecureChannelCredentials());
  Caller caller(channel);
  std::printf("%12s %8s %12s %8s\n", "50 callers", "opened", "reset", "failed");
  for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
    std::atomic<int> failed{0};
    const int64_t opened_before = caller.Opened();
    const auto grow_start = steady_clock::now();
    std::vector<std::thread> callers;
    for (int i = 0; i < kCallers; ++i) {
      callers.emplace_back([&] { failed += caller.UseOnce(kHold) ? 0 : 1; });
    }
    for (std::thread& thread : callers) thread.join();
    const double grow = MillisecondsSince(grow_start);
    const int64_t opened = caller.Opened() - opened_before;

    std::atomic<bool> done{false};
    std::vector<std::thread> load;
    for (int i = 0; i < absl::GetFlag(FLAGS_load); ++i) {
      load.emplace_back([&] {
        while (!done) failed += caller.UseOnce(std::chrono::milliseconds(0)) ? 0 : 1;
      });
    }
    const auto reset_start = steady_clock::now();
    failed += caller.Reset() ? 0 : 1;
    const double reset = MillisecondsSince(reset_start);
    done = true;
    for (std::thread& thread : load) thread.join();
    std::printf("%9.1f ms %8d %9.1f ms %8d\n", grow, static_cast<int>(opened), reset, failed.load());
    // What the load was lent is of the old generation still, or more than the minimum: once more, in peace.
    caller.Reset();
  }
  return 0;
}

}  // namespace
}  // namespace pglessor::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return pglessor::bench::Main();
}
