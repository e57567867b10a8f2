// A caller: one function for each RPC, blocking, with everything that came back.
//
// Whatever a test does, its client checks the three sums of the contract in each Stats, and the order of
// each Execute's messages.
//
// Threads: any.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "pglessor/v1/lease_service.grpc.pb.h"
#include "pglessor/v1/sql_service.grpc.pb.h"
#include "tests/system/support/outcome.h"

namespace pglessor::system {

// What one Execute answered, all of it.
struct Result : Outcome {
  v1::Header header;
  std::vector<v1::Row> rows;
  std::vector<int> batches;  // rows in each message
  v1::Summary summary;       // only if it is OK

  // The one value of an answer of one row and column, as protobuf writes it: "int_value: 7". Else why not.
  std::string Value() const;
};

v1::Value Null();
v1::Value Bool(bool value);
v1::Value Int(int64_t value);
v1::Value Double(double value);
v1::Value Text(const std::string& value);
v1::Value Bytes(const std::string& value);

google::protobuf::Duration Span(std::chrono::nanoseconds span);
std::chrono::nanoseconds Nanoseconds(const google::protobuf::Duration& span);
std::chrono::nanoseconds Nanoseconds(const google::protobuf::Timestamp& time);

// A lease of ttl, and nothing else asked for.
v1::AcquireRequest AcquireFor(std::chrono::milliseconds ttl);

// How a caller shows who it is.
struct Access {
  std::string secret = {};  // its bearer secret; empty = it has none
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
};

class Client {
 public:
  using Context = std::unique_ptr<grpc::ClientContext>;

  explicit Client(const std::string& address, const Access& access = {});

  // A context of a call that takes no longer than the test has patience. One may be handed to each function
  // below, to cancel the call or to shorten its deadline.
  static Context NewContext();

  Answer<v1::AcquireResponse> Acquire(const v1::AcquireRequest& request = {},
                                      grpc::ClientContext* context = nullptr);
  Answer<v1::ReleaseResponse> Release(const v1::ReleaseRequest& request);
  Answer<v1::ReleaseResponse> Release(const std::string& token);
  Answer<v1::RenewResponse> Renew(const v1::RenewRequest& request);
  Answer<v1::RenewResponse> Renew(const std::string& token);
  Answer<v1::ExpireResponse> Expire(const v1::ExpireRequest& request);
  Answer<v1::ExpireResponse> Expire(const std::string& token);
  Answer<v1::ResetResponse> Reset(const v1::ResetRequest& request);
  // Of the pool "default".
  Answer<v1::ResetResponse> Reset(v1::ResetMode mode);
  Answer<v1::StatsResponse> StatsOf(const v1::StatsRequest& request);
  // Of the pool "default".
  v1::PoolStats Stats();

  Result Execute(const v1::ExecuteRequest& request, grpc::ClientContext* context = nullptr);
  Result Execute(const std::string& token, const std::string& sql, const std::vector<v1::Value>& params = {});

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  v1::SqlService::Stub& sql() { return *sql_; }
  v1::LeaseService::Stub& leases() { return *leases_; }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::LeaseService::Stub> leases_;
  std::unique_ptr<v1::SqlService::Stub> sql_;
};

v1::ExecuteRequest Statement(const std::string& token, const std::string& sql,
                             const std::vector<v1::Value>& params = {});

// Fails the test if one of the sums does not hold.
void CheckSums(const v1::PoolStats& stats);

}  // namespace pglessor::system
