// P3: who waits how long where there are more callers than connections: 64 threads on 10 connections, each
// holds for 1 ms, for two seconds. Beside it the limit, strict FIFO with hand-off
// (bench/support/free_list.h). Peers: bench/peers (puddle, database/sql, HikariCP).
//
//   script/bench P3         ours and the peers in turn, as ratios
//   fairness                ours and the limit, once
//
// Prints the wait's median and 99th percentile in microseconds, and how often the thread that was served most
// was served for each time of the one served least.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "bench/support/callers.h"
#include "bench/support/figures.h"
#include "bench/support/free_list.h"
#include "bench/support/idle_pool.h"

namespace pglessor::bench {
namespace {

constexpr int kThreads = 64;
constexpr int kConnections = 10;
constexpr std::chrono::milliseconds kHold(1);
constexpr std::chrono::seconds kTime(2);

template <typename Pool>
void Measure(const std::string& who, Pool& pool) {
  std::vector<std::vector<double>> waits(kThreads);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (std::vector<double>& own : waits) {
    threads.emplace_back([&] {
      while (!stop) {
        const auto start = Clock::now();
        auto held = AcquireAndSleep(pool);
        own.push_back(NanosecondsSince(start) / 1'000);
        std::this_thread::sleep_for(kHold);
        pool.Release(held);
      }
    });
  }
  std::this_thread::sleep_for(kTime);
  stop = true;
  for (std::thread& thread : threads) thread.join();

  std::vector<double> all;
  for (const std::vector<double>& own : waits) all.insert(all.end(), own.begin(), own.end());
  const auto [least, most] = std::minmax_element(
      waits.begin(), waits.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
  PrintFigure("wait p50, us", who, Percentile(all, 50));
  PrintFigure("wait p99, us", who, Percentile(all, 99));
  PrintFigure("most / least served", who,
              static_cast<double>(most->size()) / static_cast<double>(std::max<size_t>(least->size(), 1)));
}

int Main() {
  IdlePool pool(FixedSize(kConnections));
  Measure("pglessor", pool);
  FreeList limit(kConnections);
  Measure("limit", limit);
  return 0;
}

}  // namespace
}  // namespace pglessor::bench

int main() { return pglessor::bench::Main(); }
