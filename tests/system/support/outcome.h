// How an RPC ended, in the contract's words: its code, and what the error's details say.
#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/duration.pb.h"

namespace pglessor::system {

struct Outcome {
  grpc::Status status;
  // Of google.rpc.ErrorInfo, RetryInfo, BadRequest and QuotaFailure; empty where there was none.
  std::string reason = {};
  std::map<std::string, std::string> metadata = {};
  std::optional<google::protobuf::Duration> retry_after = {};
  std::vector<std::string> fields = {};
  std::vector<std::string> quotas = {};  // whose they are

  bool ok() const { return status.ok(); }
  // Empty where there is none of that name.
  std::string Metadata(const std::string& key) const;
};

// Details that do not read as google.rpc's, or are not pglessor's, fail the test.
Outcome OutcomeOf(const grpc::Status& status);

// For gtest, which finds it by its name.
std::ostream& operator<<(std::ostream& out, const Outcome& outcome);

template <typename Response>
struct Answer : Outcome {
  Response response;
};

MATCHER(IsOk, negation ? "fails" : "succeeds") { return arg.ok(); }

MATCHER_P2(FailsWith, code, reason,
           "fails with code " + std::to_string(code) + ", reason " + std::string(reason)) {
  return arg.status.error_code() == code && arg.reason == reason;
}

// Where gRPC itself, and not pglessor, says why.
MATCHER_P(FailsWith, code, "fails with code " + std::to_string(code)) {
  return arg.status.error_code() == code;
}

}  // namespace pglessor::system
