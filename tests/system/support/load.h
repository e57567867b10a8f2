// Callers that take a lease, use it and give it back, over and over, and an eye on the pool meanwhile.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/system/support/client.h"

namespace pglessor::system {

// All grants of one pool, whoever had them, also of several runs of pglessor.
//
// Threads: any.
class FencingHistory {
 public:
  using Instant = std::chrono::steady_clock::time_point;

  void Add(Instant asked, Instant answered, uint64_t token);
  size_t size() const;
  // Fails the test unless no token came twice, and each is above all those whose acquire was answered before
  // its own was asked for.
  void Check() const;

 private:
  struct Grant {
    Instant asked, answered;
    uint64_t token = 0;
  };
  mutable std::mutex mutex_;
  std::vector<Grant> grants_;
};

// Each caller's rounds alternate between an INSERT, a transaction with one, and a SELECT that must tell the
// backend of its lease.
class Load {
 public:
  struct Report {
    int64_t rounds = 0;
    // What did not succeed.
    std::vector<Outcome> acquires, statements, releases;
    // What each INSERT wrote, by what its caller was told: done, not done, and neither.
    std::vector<std::string> written, unwritten, unknown;
  };

  // The callers of it go when pglessor does: an UNAVAILABLE that gRPC itself tells is then no failure.
  enum class Outlives { kNothing, kServer };

  // `table` has one column of text.
  Load(const std::string& address, int callers, std::string table, FencingHistory& fencing,
       Outlives outlives = Outlives::kNothing);
  ~Load();  // stops it
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Waits until so many more leases were had, used and given back.
  bool AwaitRounds(int64_t more) const;
  // Lets the callers finish what they do.
  Report Stop();

 private:
  void Caller(int number);
  void Round(Client& client, const std::string& name, int round);
  // Whether they were all done; `row` is what the INSERT among them wrote.
  void Statements(Client& client, const v1::AcquireResponse& held, const std::string& row, int round);
  // Whether `outcome` is one to go on after; else it is noted.
  bool Note(const Outcome& outcome, std::vector<Outcome>& failures);

  const std::string address_;
  const std::string table_;
  FencingHistory& fencing_;
  const Outlives outlives_;
  std::atomic<bool> stop_ = false;
  std::atomic<int64_t> rounds_ = 0;
  std::mutex mutex_;
  Report report_;  // but for its rounds
  std::vector<std::thread> callers_;
};

// Asks Stats and PostgreSQL again and again, and keeps the extremes.
class Watch {
 public:
  struct Extremes {
    int samples = 0;
    int least_total = 1 << 30, most_total = 0;
    int most_backends = 0;  // of role app
  };

  // What does not answer is not asked: PostgreSQL while it is away.
  Watch(const std::string& address, std::string control_dsn);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  Extremes Stop();

 private:
  void Run(const std::string& address);

  const std::string control_dsn_;
  std::atomic<bool> stop_ = false;
  Extremes extremes_;  // the thread's until it is joined
  std::thread thread_;
};

}  // namespace pglessor::system
