// What a lease costs one caller: Acquire + Release, beside two empty calls to the floor server, in turn.
//
//   sleep inf | rpc_floor_server --listen=127.0.0.1:7001 --api=cq &
//   pglessor --embedded --listen 127.0.0.1:7002 &
//   lease_pair --floor=127.0.0.1:7001 --pglessor=127.0.0.1:7002
//
// Prints a row a round: the p50 of each in microseconds, and their ratio. Pin the three with taskset: where
// the kernel puts them matters more than what they do.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"

#include "floor.grpc.pb.h"
#include "pglessor/v1/lease_service.grpc.pb.h"

ABSL_FLAG(std::string, floor, "", "address of rpc_floor_server");
ABSL_FLAG(std::string, pglessor, "", "address of pglessor");
ABSL_FLAG(int, rounds, 5, "how often each is measured");
ABSL_FLAG(int, pairs, 3000, "pairs of calls in a round");

namespace pglessor::bench {
namespace {

using std::chrono::steady_clock;

// A call that fails makes the whole measurement worthless.
void Require(const grpc::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "lease_pair: %s\n", status.error_message().c_str());
  std::exit(1);
}

double MedianMicroseconds(int times, const std::function<void()>& run) {
  std::vector<double> took;
  for (int i = 0; i < times; ++i) {
    const auto start = steady_clock::now();
    run();
    took.push_back(std::chrono::duration<double, std::micro>(steady_clock::now() - start).count());
  }
  std::nth_element(took.begin(), took.begin() + times / 2, took.end());
  return took[static_cast<size_t>(times) / 2];
}

void EmptyPair(Floor::Stub& floor) {
  for (int i = 0; i < 2; ++i) {
    grpc::ClientContext context;
    AcquireResponse response;
    Require(floor.Acquire(&context, {}, &response));
  }
}

void LeasePair(v1::LeaseService::Stub& leases) {
  v1::AcquireResponse acquired;
  {
    grpc::ClientContext context;
    Require(leases.Acquire(&context, {}, &acquired));
  }
  grpc::ClientContext context;
  v1::ReleaseRequest release;
  release.set_lease_token(acquired.lease_token());
  v1::ReleaseResponse released;
  Require(leases.Release(&context, release, &released));
}

int Main() {
  const auto channel = [](const std::string& address) {
    return grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  };
  const auto floor = Floor::NewStub(channel(absl::GetFlag(FLAGS_floor)));
  const auto leases = v1::LeaseService::NewStub(channel(absl::GetFlag(FLAGS_pglessor)));
  const int pairs = absl::GetFlag(FLAGS_pairs);
  MedianMicroseconds(pairs / 10 + 1, [&] { EmptyPair(*floor); });
  MedianMicroseconds(pairs / 10 + 1, [&] { LeasePair(*leases); });
  std::printf("%12s %16s %6s\n", "two empty", "acquire+release", "ratio");
  for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
    const double empty = MedianMicroseconds(pairs, [&] { EmptyPair(*floor); });
    const double lease = MedianMicroseconds(pairs, [&] { LeasePair(*leases); });
    std::printf("%9.1f us %13.1f us %6.2f\n", empty, lease, lease / empty);
  }
  return 0;
}

}  // namespace
}  // namespace pglessor::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return pglessor::bench::Main();
}
