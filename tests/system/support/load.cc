#include "tests/system/support/load.h"

#include <libpq-fe.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/system/support/eventually.h"

namespace pglessor::system {
namespace {

using std::chrono::steady_clock;

// Longer than any outage here lasts.
constexpr std::chrono::seconds kWait(20);
constexpr std::chrono::milliseconds kBetweenSamples(5);

}  // namespace

void FencingHistory::Add(Instant asked, Instant answered, uint64_t token) {
  const std::lock_guard lock(mutex_);
  grants_.push_back({asked, answered, token});
}

size_t FencingHistory::size() const {
  const std::lock_guard lock(mutex_);
  return grants_.size();
}

void FencingHistory::Check() const {
  const std::lock_guard lock(mutex_);
  std::set<uint64_t> tokens;
  for (const Grant& grant : grants_) {
    EXPECT_TRUE(tokens.insert(grant.token).second) << grant.token << " came twice";
  }
  std::vector<Grant> by_asked = grants_, by_answered = grants_;
  std::sort(by_asked.begin(), by_asked.end(), [](const auto& a, const auto& b) { return a.asked < b.asked; });
  std::sort(by_answered.begin(), by_answered.end(),
            [](const auto& a, const auto& b) { return a.answered < b.answered; });
  uint64_t highest = 0;  // of those answered before
  auto answered = by_answered.begin();
  for (const Grant& grant : by_asked) {
    for (; answered != by_answered.end() && answered->answered < grant.asked; ++answered) {
      highest = std::max(highest, answered->token);
    }
    EXPECT_GT(grant.token, highest) << "it was asked for after that one was had";
  }
}

Load::Load(const std::string& address, int callers, std::string table, FencingHistory& fencing,
           Outlives outlives)
    : address_(address), table_(std::move(table)), fencing_(fencing), outlives_(outlives) {
  for (int i = 0; i < callers; ++i) callers_.emplace_back([this, i] { Caller(i); });
}

Load::~Load() {
  if (!callers_.empty()) Stop();
}

bool Load::AwaitRounds(int64_t more) const {
  const int64_t enough = rounds_ + more;
  return Eventually([&] { return rounds_ >= enough; });
}

Load::Report Load::Stop() {
  stop_ = true;
  for (std::thread& caller : callers_) caller.join();
  callers_.clear();
  report_.rounds = rounds_;
  return report_;
}

void Load::Caller(int number) {
  Client client(address_);
  // Not used again in the test, whatever loads it makes.
  static std::atomic<int> loads = 0;
  const std::string name = absl::StrCat(number, "-", ++loads);
  for (int round = 0; !stop_; ++round) Round(client, name, round);
}

void Load::Round(Client& client, const std::string& name, int round) {
  v1::AcquireRequest request;
  *request.mutable_wait_timeout() = Span(kWait);
  const steady_clock::time_point asked = steady_clock::now();
  const Answer<v1::AcquireResponse> held = client.Acquire(request);
  if (!Note(held, report_.acquires)) return;
  fencing_.Add(asked, steady_clock::now(), held.response.lease().fencing_token());
  Statements(client, held.response, absl::StrCat(name, "-", round), round);
  if (Note(client.Release(held.response.lease_token()), report_.releases)) ++rounds_;
}

void Load::Statements(Client& client, const v1::AcquireResponse& held, const std::string& row, int round) {
  const std::string& token = held.lease_token();
  if (round % 3 == 2) {
    const Result result = client.Execute(token, "SELECT pg_backend_pid()");
    if (Note(result, report_.statements)) {
      EXPECT_EQ(result.Value(), absl::StrCat("int_value: ", held.lease().backend_pid()));
    }
    return;
  }
  const bool transaction = round % 3 == 1;
  if (transaction && !Note(client.Execute(token, "BEGIN"), report_.statements)) return;
  Result last = client.Execute(token, absl::StrCat("INSERT INTO ", table_, " VALUES ($1)"), {Text(row)});
  bool done = Note(last, report_.statements);
  if (transaction && done) {
    last = client.Execute(token, "COMMIT");
    done = Note(last, report_.statements);
  }
  // Of a server that was killed, nothing is known.
  const bool told = last.reason != "COMMIT_OUTCOME_UNKNOWN" && !last.reason.empty();
  const std::lock_guard lock(mutex_);
  (done ? report_.written : told ? report_.unwritten : report_.unknown).push_back(row);
}

bool Load::Note(const Outcome& outcome, std::vector<Outcome>& failures) {
  if (outcome.ok()) return true;
  if (outlives_ == Outlives::kServer && outcome.reason.empty() &&
      outcome.status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    stop_ = true;
    return false;
  }
  const std::lock_guard lock(mutex_);
  failures.push_back(outcome);
  return false;
}

Watch::Watch(const std::string& address, std::string control_dsn)
    : control_dsn_(std::move(control_dsn)), thread_([this, address] { Run(address); }) {}

Watch::~Watch() {
  if (thread_.joinable()) Stop();
}

Watch::Extremes Watch::Stop() {
  stop_ = true;
  thread_.join();
  return extremes_;
}

void Watch::Run(const std::string& address) {
  Client client(address);
  const auto connect = [&] {
    return std::unique_ptr<PGconn, decltype(&PQfinish)>(PQconnectdb(control_dsn_.c_str()), &PQfinish);
  };
  auto connection = connect();
  for (; !stop_; std::this_thread::sleep_for(kBetweenSamples)) {
    const v1::PoolStats stats = client.Stats();
    extremes_.least_total = std::min(extremes_.least_total, stats.total());
    extremes_.most_total = std::max(extremes_.most_total, stats.total());
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(
        PQexec(connection.get(), "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"), &PQclear);
    int backends = 0;
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) {
      connection = connect();
      continue;
    }
    EXPECT_TRUE(absl::SimpleAtoi(PQgetvalue(result.get(), 0, 0), &backends));
    extremes_.most_backends = std::max(extremes_.most_backends, backends);
    ++extremes_.samples;
  }
}

}  // namespace pglessor::system
