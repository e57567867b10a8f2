// What each RPC asks of its caller: one table, by which the code works and which a test holds against the
// protos, so that no RPC is without a row. What has none is refused.
#pragma once

#include <google/protobuf/message.h>

#include <map>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/types/span.h"

#include "server/rpc/caller.h"
#include "server/rpc/identity_options.h"

namespace pglessor::rpc {

struct Rule {
  const char* rpc;      // without the package: "LeaseService.Renew"
  const char* subject;  // the arm of the request's oneof that says on what; empty = it has no such oneof
  Role role;
};

absl::Span<const Rule> Rules();

// The oneof of a request whose arms have rows of their own; null if it has none.
const google::protobuf::OneofDescriptor* SubjectOf(const google::protobuf::Descriptor& request);

// Threads: any.
// Cost: a look-up.
class Authorization {
 public:
  // By Rules.
  Authorization();

  // Whether `caller` may make the RPC that takes requests of this type, on this subject. A request that
  // leaves its subject out is for the RPC to refuse.
  // Fails with: PERMISSION_DENIED PERMISSION_DENIED.
  absl::Status Check(const Caller& caller, const google::protobuf::Message& request) const;

 private:
  struct Asked {
    std::string rpc;
    const google::protobuf::OneofDescriptor* subject = nullptr;
    std::map<int, Role> roles;  // by the arm's field number; by 0 if there are no arms
  };
  std::unordered_map<const google::protobuf::Descriptor*, Asked> asked_;
};

}  // namespace pglessor::rpc
