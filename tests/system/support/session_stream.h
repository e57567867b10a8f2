// A Session's stream, from the client's side.
//
// Threads: one at a time.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "pglessor/v1/error_details.pb.h"
#include "tests/system/support/client.h"

namespace pglessor::system {

// Our Status is google.rpc.Status on the wire, which is what a trailer holds.
inline grpc::Status StatusOf(const v1::SessionResponse& response) {
  const v1::Status& error = response.error();
  return {static_cast<grpc::StatusCode>(error.code()), error.message(),
          error.details().empty() ? "" : error.SerializeAsString()};
}

class SessionStream {
 public:
  explicit SessionStream(Client& client)
      : context_(Client::NewContext()), stream_(client.sql().Session(context_.get())) {}
  ~SessionStream() {
    if (!finished_) Break();
  }
  SessionStream(const SessionStream&) = delete;
  SessionStream& operator=(const SessionStream&) = delete;

  bool Send(int64_t id, v1::SessionRequest request) {
    request.set_id(id);
    return stream_->Write(request);
  }
  void Acquire(int64_t id, const v1::AcquireRequest& acquire = {}) {
    v1::SessionRequest request;
    *request.mutable_acquire() = acquire;
    Send(id, request);
  }
  void Execute(int64_t id, const std::string& sql, const std::vector<v1::Value>& params = {}) {
    v1::SessionRequest request;
    *request.mutable_execute() = Statement("", sql, params);
    request.mutable_execute()->clear_on();
    Send(id, request);
  }
  void Release(int64_t id) {
    v1::SessionRequest request;
    request.mutable_release();
    Send(id, request);
  }
  void Renew(int64_t id, std::chrono::nanoseconds ttl) {
    v1::SessionRequest request;
    *request.mutable_renew()->mutable_ttl() = Span(ttl);
    Send(id, request);
  }
  void Cancel(int64_t id) {
    v1::SessionRequest request;
    request.mutable_cancel()->set_id(id);
    Send(0, request);
  }
  void HalfClose() { stream_->WritesDone(); }
  // As a client that is killed.
  void Break() {
    context_->TryCancel();
    Finish();
  }

  // The next message; one without a kind where the stream has ended.
  v1::SessionResponse Read() {
    v1::SessionResponse response;
    if (!stream_->Read(&response)) response.Clear();
    return response;
  }
  // The whole answer to one statement.
  Result ReadResult(int64_t id) {
    Result result;
    for (;;) {
      v1::SessionResponse response = Read();
      EXPECT_EQ(response.id(), id) << response.ShortDebugString();
      if (response.has_error()) {
        static_cast<Outcome&>(result) = OutcomeOf(StatusOf(response));
        return result;
      }
      if (!response.has_result()) {
        ADD_FAILURE() << "no result: " << response.ShortDebugString();
        result.status = grpc::Status(grpc::StatusCode::INTERNAL, "no result");
        return result;
      }
      v1::ExecuteResponse& part = *response.mutable_result();
      if (part.has_header()) result.header = part.header();
      for (const v1::Row& row : part.rows().rows()) result.rows.push_back(row);
      if (part.has_summary()) {
        result.summary = part.summary();
        return result;
      }
    }
  }
  Outcome ReadError(int64_t id) {
    const v1::SessionResponse response = Read();
    EXPECT_EQ(response.id(), id) << response.ShortDebugString();
    EXPECT_TRUE(response.has_error()) << response.ShortDebugString();
    return OutcomeOf(StatusOf(response));
  }
  // Acquires, and takes the answer.
  v1::Lease Begin(const v1::AcquireRequest& acquire = {}) {
    Acquire(1, acquire);
    const v1::SessionResponse response = Read();
    EXPECT_TRUE(response.has_acquired()) << response.ShortDebugString();
    return response.acquired().lease();
  }
  Result Run(const std::string& sql) {
    Execute(7, sql);
    return ReadResult(7);
  }

  grpc::Status Finish() {
    finished_ = true;
    return stream_->Finish();
  }

 private:
  Client::Context context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SessionRequest, v1::SessionResponse>> stream_;
  bool finished_ = false;
};

}  // namespace pglessor::system
