#include "server/rpc/watch_call.h"

#include <chrono>
#include <memory>
#include <utility>

#include "server/core/error.h"
#include "server/rpc/convert_event.h"
#include "server/rpc/status.h"

namespace pglessor::rpc {
namespace {

absl::Status ShuttingDown() {
  return core::MakeError(absl::StatusCode::kUnavailable,
                         "the server has shut down, and this was all that happened; watch another replica",
                         {.reason = core::reason::kDraining});
}

}  // namespace

Watches::Watches(CallQueue& queue, core::EventHistory& history) : queue_(queue), history_(history) {
  history_.SetWake([this] {
    // Of a time that has passed: it rings at once, on the queue's thread.
    alarm_.Set(queue_.queue.get(), std::chrono::system_clock::time_point(), this);
  });
}

void Watches::Join(WatchCall& call) {
  calls_.insert(&call);
  if (!armed_) Arm();
}

void Watches::Arm() {
  ++queue_.objects;  // the queue is not shut down while an alarm may be set on it
  armed_ = history_.Arm();
  if (!armed_) --queue_.objects;
}

void Watches::Happened(bool) {
  armed_ = false;
  // First, so that what happens while the watches are served rings again.
  if (!calls_.empty()) Arm();
  for (WatchCall* const call : calls_) call->Continue();
  --queue_.objects;
}

void WatchCall::Serve(CallQueue& queue, const Method& method) {
  std::make_shared<WatchCall>(queue, method)->Start();
}

void WatchCall::Listen(void* tag) {
  method_.listen(&context(), &request_, &writer_, queue().queue.get(), tag);
}

void WatchCall::OnRequest() {
  const absl::Status begun = Begin();
  if (!begun.ok()) {
    Refuse(ToGrpc(begun));
    return;
  }
  writing_ = true;
  writer_.SendInitialMetadata(WriteTag());
}

void WatchCall::Refuse(const grpc::Status& why) {
  over_ = true;
  writer_.Finish(why, FinishTag());
}

absl::Status WatchCall::Begin() {
  absl::StatusOr<core::EventFilter> filter = FromProto(request_);
  if (!filter.ok()) return filter.status();
  if (!caller().SeesEverything()) {
    filter->sees = [this](absl::string_view tenant) { return caller().Sees(tenant); };
  }
  if (!filter->pool.empty()) {
    if (absl::Status pool = method_.lessor.CheckPool(filter->pool); !pool.ok()) return pool;
  }
  core::EventHistory& history = method_.watches.history();
  const absl::StatusOr<uint64_t> next = history.Begin(request_.after_sequence());
  if (!next.ok()) return next.status();
  watch_.emplace(history, *std::move(filter), *next);
  method_.watches.Join(*this);
  return absl::OkStatus();
}

void WatchCall::Continue() {
  if (writing_ || over_) return;
  // Asked first: what happens before it is closed is still told.
  const bool closed = method_.watches.history().closed();
  const core::EventWatch::Next next = watch_->Take();
  if (next.event != nullptr) {
    v1::WatchEventsResponse message;
    *message.mutable_event() = ToProto(next, method_.lessor);
    writing_ = true;
    writer_.Write(message, WriteTag());
  } else if (closed) {
    Refuse(ToGrpc(ShuttingDown()));
  }
}

void WatchCall::OnWritten(bool ok) {
  writing_ = false;
  over_ = over_ || !ok;  // the caller has gone; OnDone says so too
  Continue();
}

void WatchCall::OnDone(bool) {
  over_ = true;
  method_.watches.Leave(*this);
}

}  // namespace pglessor::rpc
