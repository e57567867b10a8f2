// What callers over gRPC see, and what they cost the server: so many at once, on one channel, one completion
// queue and one thread. The same program loads pglessor and the server of empty calls.
//
//   rpc_load --target=127.0.0.1:7002 --what=lease --in_flight=64 --pid=$(pidof pglessor)
//
// Prints KEY=VALUE words: of a turn (two empty calls; Acquire and Release; a statement with `once`) the
// median in microseconds, the microseconds between two that end, and the server's processor time.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_split.h"

#include "floor.grpc.pb.h"
#include "pglessor/v1/lease_service.grpc.pb.h"
#include "pglessor/v1/sql_service.grpc.pb.h"

ABSL_FLAG(std::string, target, "", "address of the server");
ABSL_FLAG(std::string, what, "lease", "empty, empty-pair (both of rpc_floor_server), lease, or once");
ABSL_FLAG(int, in_flight, 1, "callers at once");
ABSL_FLAG(double, seconds, 1, "how long to measure, after a tenth of it that is not measured");
ABSL_FLAG(int, pid, 0, "of the server");

namespace pglessor::bench {
namespace {

using Clock = std::chrono::steady_clock;

// A call that fails makes the whole measurement worthless.
void Require(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "rpc_load: %s\n", what.c_str());
  std::exit(1);
}

double Microseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

// User and system time of all its threads so far, in microseconds. See proc(5), /proc/pid/stat.
double ProcessorTime(int pid) {
  if (pid == 0) return 0;
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  Require(stat.find(')') != std::string::npos, "no such process");
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(stat.rfind(')') + 2), ' ');
  return (std::stod(fields[11]) + std::stod(fields[12])) * 1e6 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// One who makes the same calls again and again. What the queue's tags point to.
class Caller {
 public:
  virtual ~Caller() = default;
  virtual void Begin() = 0;
  // Whether the turn is over.
  virtual bool Happened(bool ok) = 0;

  Clock::time_point began;
};

template <typename Response>
class Unary {
 public:
  template <typename Start>
  void Call(const Start& start, Caller* caller) {
    reader_.reset();  // it stands in the memory of the call that the context holds
    context_.emplace();
    reader_ = start(&*context_);
    reader_->Finish(&response_, &status_, caller);
  }
  const Response& response() const {
    Require(status_.ok(), status_.error_message());
    return response_;
  }

 private:
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader_;
  Response response_;
  grpc::Status status_;
};

class EmptyCaller final : public Caller {
 public:
  EmptyCaller(Floor::Stub& stub, grpc::CompletionQueue& queue, int calls)
      : stub_(stub), queue_(queue), calls_(calls) {}

  void Begin() override {
    left_ = calls_;
    Call();
  }
  bool Happened(bool) override {
    call_.response();
    if (--left_ == 0) return true;
    Call();
    return false;
  }

 private:
  void Call() {
    call_.Call([this](grpc::ClientContext* context) { return stub_.AsyncAcquire(context, {}, &queue_); },
               this);
  }

  Floor::Stub& stub_;
  grpc::CompletionQueue& queue_;
  const int calls_;
  int left_ = 0;
  Unary<AcquireResponse> call_;
};

class LeaseCaller final : public Caller {
 public:
  LeaseCaller(v1::LeaseService::Stub& stub, grpc::CompletionQueue& queue) : stub_(stub), queue_(queue) {}

  void Begin() override {
    holds_ = false;
    acquire_.Call([this](grpc::ClientContext* context) { return stub_.AsyncAcquire(context, {}, &queue_); },
                  this);
  }
  bool Happened(bool) override {
    if (holds_) {
      release_.response();
      return true;
    }
    holds_ = true;
    request_.set_lease_token(acquire_.response().lease_token());
    release_.Call(
        [this](grpc::ClientContext* context) { return stub_.AsyncRelease(context, request_, &queue_); },
        this);
    return false;
  }

 private:
  v1::LeaseService::Stub& stub_;
  grpc::CompletionQueue& queue_;
  bool holds_ = false;
  v1::ReleaseRequest request_;
  Unary<v1::AcquireResponse> acquire_;
  Unary<v1::ReleaseResponse> release_;
};

class OnceCaller final : public Caller {
 public:
  OnceCaller(v1::SqlService::Stub& stub, grpc::CompletionQueue& queue) : stub_(stub), queue_(queue) {
    request_.set_sql("SELECT 1");
    request_.mutable_once();
  }

  void Begin() override {
    reader_.reset();
    context_.emplace();
    reads_ = true;
    reader_ = stub_.AsyncExecute(&*context_, request_, &queue_, this);
  }
  bool Happened(bool ok) override {
    if (!reads_) {
      Require(status_.ok(), status_.error_message());
      return true;
    }
    reads_ = ok;
    if (ok) {
      reader_->Read(&part_, this);
    } else {
      reader_->Finish(&status_, this);
    }
    return false;
  }

 private:
  v1::SqlService::Stub& stub_;
  grpc::CompletionQueue& queue_;
  v1::ExecuteRequest request_;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncReader<v1::ExecuteResponse>> reader_;
  bool reads_ = false;
  v1::ExecuteResponse part_;
  grpc::Status status_;
};

class Load {
 public:
  Load() : channel_(grpc::CreateChannel(absl::GetFlag(FLAGS_target), grpc::InsecureChannelCredentials())) {
    const std::string what = absl::GetFlag(FLAGS_what);
    const int count = absl::GetFlag(FLAGS_in_flight);
    Require(count > 0 && absl::GetFlag(FLAGS_seconds) > 0, "--in_flight and --seconds: expected more than 0");
    while (static_cast<int>(callers_.size()) < count) {
      if (what == "empty" || what == "empty-pair") {
        callers_.push_back(std::make_unique<EmptyCaller>(*floor_, queue_, what == "empty" ? 1 : 2));
      } else if (what == "lease") {
        callers_.push_back(std::make_unique<LeaseCaller>(*leases_, queue_));
      } else {
        Require(what == "once", "--what: expected empty, empty-pair, lease or once");
        callers_.push_back(std::make_unique<OnceCaller>(*sql_, queue_));
      }
    }
  }

  void Run() {
    const auto length = std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(absl::GetFlag(FLAGS_seconds)));
    for (const auto& caller : callers_) Begin(*caller);
    CarryUntil(Clock::now() + length / 10);
    took_.clear();
    const int pid = absl::GetFlag(FLAGS_pid);
    const double used = ProcessorTime(pid);
    const Clock::time_point start = Clock::now();
    CarryUntil(start + length);
    const double passed = Microseconds(Clock::now() - start);
    const double turns = static_cast<double>(took_.size());
    std::nth_element(took_.begin(), took_.begin() + static_cast<std::ptrdiff_t>(took_.size() / 2),
                     took_.end());
    std::printf("p50_us=%.1f us_a_turn=%.2f processor_us=%.2f\n", took_[took_.size() / 2], passed / turns,
                (ProcessorTime(pid) - used) / turns);
  }

 private:
  void Begin(Caller& caller) {
    caller.began = Clock::now();
    caller.Begin();
  }
  void CarryUntil(Clock::time_point until) {
    while (Clock::now() < until || took_.empty()) {
      void* tag = nullptr;
      bool ok = false;
      queue_.Next(&tag, &ok);
      Caller& caller = *static_cast<Caller*>(tag);
      if (!caller.Happened(ok)) continue;
      took_.push_back(Microseconds(Clock::now() - caller.began));
      Begin(caller);
    }
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<Floor::Stub> floor_ = Floor::NewStub(channel_);
  const std::unique_ptr<v1::LeaseService::Stub> leases_ = v1::LeaseService::NewStub(channel_);
  const std::unique_ptr<v1::SqlService::Stub> sql_ = v1::SqlService::NewStub(channel_);
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Caller>> callers_;
  std::vector<double> took_;
};

}  // namespace
}  // namespace pglessor::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  pglessor::bench::Load load;
  load.Run();
  std::fflush(stdout);
  std::quick_exit(0);  // whoever is in flight need not end well: the server takes back what they hold
}
