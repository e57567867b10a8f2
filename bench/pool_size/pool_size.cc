// How fast a pool grows and is replaced: fifty callers on ten connections that may become twenty, then a
// Reset back to ten while callers go on.
//
//   pglessor --dsn $DSN --listen 127.0.0.1:7002 --min-connections 10 --max-connections 20 &
//   pool_size --pglessor=127.0.0.1:7002 --postgres=$DSN
//
// Prints a row a round: how long the fifty took (each runs SELECT 1 and holds for 10 ms; on twenty
// connections 30 ms are unavoidable), how many connections they opened, how long the Reset took, and what
// it failed. Beside them the floor, which is PostgreSQL's own on that machine at that moment, by plain libpq
// with nobody else there: ten connections opened at once, with their first SELECT 1; and the same while
// twenty others close. Last the medians.
#include <grpcpp/grpcpp.h>
#include <libpq-fe.h>

#include <algorithm>
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
ABSL_FLAG(std::string, postgres, "", "DSN of the PostgreSQL behind it");
ABSL_FLAG(int, rounds, 10, "how often it is measured");
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

  // Once none is being opened any more.
  int64_t Opened() {
    v1::PoolStats pool;
    do {
      grpc::ClientContext context;
      v1::StatsResponse stats;
      const grpc::Status status = leases_->Stats(&context, {}, &stats);
      if (!status.ok() || stats.pools().empty()) {
        std::fprintf(stderr, "pool_size: %s\n", status.error_message().c_str());
        std::exit(1);
      }
      pool = stats.pools(0);
    } while (pool.opening() > 0);
    return pool.counters().connections_opened();
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

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;

// All at once, each with its first statement answered.
std::vector<Connection> OpenAtOnce(int count) {
  std::vector<Connection> connections;
  for (int i = 0; i < count; ++i) connections.emplace_back(nullptr, &PQfinish);
  std::vector<std::thread> threads;
  for (Connection& connection : connections) {
    threads.emplace_back([&] {
      connection.reset(PQconnectdb(absl::GetFlag(FLAGS_postgres).c_str()));
      const std::unique_ptr<PGresult, decltype(&PQclear)> one(PQexec(connection.get(), "SELECT 1"), &PQclear);
      if (PQresultStatus(one.get()) == PGRES_TUPLES_OK) return;
      std::fprintf(stderr, "pool_size: %s\n", PQerrorMessage(connection.get()));
      std::exit(1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return connections;
}

struct Round {
  double grow, reset, floor_open, floor_replace;  // milliseconds
};

void MeasureFloor(Round& round) {
  auto start = steady_clock::now();
  std::vector<Connection> connections = OpenAtOnce(10);
  round.floor_open = MillisecondsSince(start);
  for (Connection& connection : OpenAtOnce(10)) connections.push_back(std::move(connection));
  start = steady_clock::now();
  connections.clear();
  connections = OpenAtOnce(10);
  round.floor_replace = MillisecondsSince(start);
}

double Median(const std::vector<Round>& rounds, double Round::*figure) {
  std::vector<double> figures;
  for (const Round& round : rounds) figures.push_back(round.*figure);
  std::sort(figures.begin(), figures.end());
  return figures[figures.size() / 2];
}

int Main() {
  const auto channel = grpc::CreateChannel(absl::GetFlag(FLAGS_pglessor), grpc::InsecureChannelCredentials());
  Caller caller(channel);
  std::printf("%12s %8s %12s %8s %12s %12s\n", "50 callers", "opened", "reset", "failed", "open 10",
              "20 for 10");
  std::vector<Round> rounds;
  for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
    std::atomic<int> failed{0};
    const int64_t opened_before = caller.Opened();
    const auto grow_start = steady_clock::now();
    std::vector<std::thread> callers;
    for (int i = 0; i < kCallers; ++i) {
      callers.emplace_back([&] { failed += caller.UseOnce(kHold) ? 0 : 1; });
    }
    for (std::thread& thread : callers) thread.join();
    Round& measured = rounds.emplace_back();
    measured.grow = MillisecondsSince(grow_start);
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
    measured.reset = MillisecondsSince(reset_start);
    done = true;
    for (std::thread& thread : load) thread.join();
    // What the load was lent is of the old generation still, or more than the minimum: once more, in peace.
    caller.Opened();
    caller.Reset();
    MeasureFloor(measured);
    std::printf("%9.1f ms %8d %9.1f ms %8d %9.1f ms %9.1f ms\n", measured.grow, static_cast<int>(opened),
                measured.reset, failed.load(), measured.floor_open, measured.floor_replace);
  }
  std::printf("%9.1f ms %8s %9.1f ms %8s %9.1f ms %9.1f ms   medians\n", Median(rounds, &Round::grow), "",
              Median(rounds, &Round::reset), "", Median(rounds, &Round::floor_open),
              Median(rounds, &Round::floor_replace));
  return 0;
}

}  // namespace
}  // namespace pglessor::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return pglessor::bench::Main();
}
