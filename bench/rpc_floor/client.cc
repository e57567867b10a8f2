// Loads a floor server over one channel, from one completion queue and one thread, and prints what
// it saw as KEY=VALUE words. The same client measures every arrangement of the server.

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"

#include "floor.grpc.pb.h"

ABSL_FLAG(std::string, target, "", "address of the server");
ABSL_FLAG(std::string, mode, "unary", "unary or stream");
ABSL_FLAG(int, inflight, 1, "calls, or streams with one ping each, in flight");
ABSL_FLAG(double, seconds, 2, "how long to measure, after the warm-up");
ABSL_FLAG(double, warmup, 0.2, "seconds of load that are not measured");

namespace pglessor::bench {
namespace {

using Clock = std::chrono::steady_clock;

Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// A call that fails makes the whole measurement worthless.
[[noreturn]] void Fail(const std::string& what) {
  std::cerr << "rpc_floor_client: " << what << "\n";
  std::exit(1);
}

// When to measure and when to stop, and the latencies seen in between.
class Measurement {
 public:
  Measurement(Clock::duration warmup, Clock::duration length)
      : from_(Clock::now() + warmup), until_(from_ + length) {}

  // One call that began at `start` ends now. Says whether to start another.
  bool Record(Clock::time_point start) {
    const Clock::time_point now = Clock::now();
    ++calls_;
    if (start >= from_) {
      latencies_.push_back(now - start);
      last_ = now;
    }
    return now < until_;
  }

  void Print() {
    if (latencies_.empty()) Fail("no call was measured");
    std::sort(latencies_.begin(), latencies_.end());
    const double seconds = std::chrono::duration<double>(last_ - from_).count();
    std::printf("calls=%zu per_second=%.0f p50_us=%.1f p99_us=%.1f\n", calls_,
                static_cast<double>(latencies_.size()) / seconds, Percentile(50), Percentile(99));
  }

 private:
  double Percentile(size_t percent) const {
    return std::chrono::duration<double, std::micro>(latencies_[(latencies_.size() - 1) * percent / 100])
        .count();
  }

  const Clock::time_point from_;
  const Clock::time_point until_;
  size_t calls_ = 0;  // The warm-up's too.
  Clock::time_point last_;
  std::vector<Clock::duration> latencies_;
};

// What the queue's tags point to: one of the calls in flight, which starts itself again until the
// measurement is over.
class Slot {
 public:
  virtual ~Slot() = default;
  virtual void Happened(bool ok) = 0;
  bool over() const { return over_; }

 protected:
  bool over_ = false;
};

struct Load {
  Floor::Stub& stub;
  grpc::CompletionQueue& queue;
  Measurement& measurement;
};

class UnarySlot final : public Slot {
 public:
  explicit UnarySlot(const Load& load) : load_(load) {
    request_.set_pool("main");
    request_.set_request_id("6f1c2a9e-0b1d-4c57-9c57-2f6f3a1d8e40");
    Start();
  }

  void Happened(bool) override {
    if (!status_.ok()) Fail("Acquire: " + status_.error_message());
    if (load_.measurement.Record(start_)) {
      Start();
    } else {
      over_ = true;
    }
  }

 private:
  void Start() {
    start_ = Clock::now();
    context_.emplace();
    reader_ = load_.stub.AsyncAcquire(&*context_, request_, &load_.queue);
    reader_->Finish(&response_, &status_, this);
  }

  const Load load_;
  AcquireRequest request_;
  AcquireResponse response_;
  grpc::Status status_;
  Clock::time_point start_;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<AcquireResponse>> reader_;
};

class StreamSlot final : public Slot {
 public:
  explicit StreamSlot(const Load& load) : load_(load) {
    ping_.set_statement("SELECT 1");
    stream_ = load_.stub.AsyncSession(&context_, &load_.queue, this);
  }

  void Happened(bool ok) override {
    if (!ok) Fail("Session: the stream broke");
    if (--pending_ > 0) return;
    switch (state_) {
      case State::kOpening:
        state_ = State::kPlaying;
        return Play();
      case State::kPlaying:
        if (load_.measurement.Record(start_)) return Play();
        state_ = State::kClosing;
        pending_ = 2;
        stream_->WritesDone(this);
        stream_->Finish(&status_, this);
        return;
      case State::kClosing:
        if (!status_.ok()) Fail("Session: " + status_.error_message());
        over_ = true;
    }
  }

 private:
  enum class State { kOpening, kPlaying, kClosing };

  void Play() {
    start_ = Clock::now();
    pending_ = 2;
    stream_->Read(&pong_, this);
    stream_->Write(ping_, this);
  }

  const Load load_;
  Ping ping_;
  Pong pong_;
  grpc::Status status_;
  Clock::time_point start_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<Ping, Pong>> stream_;
  State state_ = State::kOpening;
  int pending_ = 1;  // Tags that are out.
};

int Main() {
  const std::string mode = absl::GetFlag(FLAGS_mode);
  const int inflight = absl::GetFlag(FLAGS_inflight);
  if ((mode != "unary" && mode != "stream") || inflight < 1) {
    std::cerr << "bad --mode or --inflight; see --help\n";
    return 2;
  }

  const std::shared_ptr<grpc::Channel> channel =
      grpc::CreateChannel(absl::GetFlag(FLAGS_target), grpc::InsecureChannelCredentials());
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(5))) {
    Fail("no server at " + absl::GetFlag(FLAGS_target));
  }

  const std::unique_ptr<Floor::Stub> stub = Floor::NewStub(channel);
  grpc::CompletionQueue queue;
  Measurement measurement(Seconds(absl::GetFlag(FLAGS_warmup)), Seconds(absl::GetFlag(FLAGS_seconds)));
  const Load load{*stub, queue, measurement};
  std::vector<std::unique_ptr<Slot>> slots;
  for (int i = 0; i < inflight; ++i) {
    if (mode == "unary") {
      slots.push_back(std::make_unique<UnarySlot>(load));
    } else {
      slots.push_back(std::make_unique<StreamSlot>(load));
    }
  }

  void* tag = nullptr;
  bool ok = false;
  for (int running = inflight; running > 0;) {
    queue.Next(&tag, &ok);
    Slot* const slot = static_cast<Slot*>(tag);
    slot->Happened(ok);
    if (slot->over()) --running;
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  measurement.Print();
  return 0;
}

}  // namespace
}  // namespace pglessor::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return pglessor::bench::Main();
}
