#include "server/rpc/authorization.h"

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_cat.h"

#include "server/core/check.h"

namespace pglessor::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MethodDescriptor;
using google::protobuf::OneofDescriptor;

constexpr char kPackage[] = "pglessor.v1.";
constexpr int kNoArms = 0;

// kViewer: a holder too, who sees the rows of its own tenants only.
constexpr Rule kRules[] = {
    {"LeaseService.Acquire", "", Role::kHolder},
    {"LeaseService.Release", "", Role::kHolder},
    {"LeaseService.Renew", "lease_token", Role::kHolder},
    {"LeaseService.Renew", "pool", Role::kOperator},
    {"LeaseService.Expire", "lease_token", Role::kHolder},
    {"LeaseService.Expire", "lease_id", Role::kOperator},
    {"LeaseService.Expire", "leases", Role::kOperator},
    {"LeaseService.Expire", "connections", Role::kOperator},
    {"LeaseService.Reset", "", Role::kOperator},
    {"LeaseService.Stats", "", Role::kViewer},
    {"SqlService.Execute", "lease_token", Role::kHolder},
    {"SqlService.Execute", "once", Role::kHolder},
    {"SqlService.Session", "", Role::kHolder},
    {"OperatorService.ListLeases", "", Role::kViewer},
    {"OperatorService.ListConnections", "", Role::kViewer},
    {"OperatorService.WatchEvents", "", Role::kViewer},
    {"OperatorService.PausePool", "", Role::kOperator},
    {"OperatorService.ResumePool", "", Role::kOperator},
    {"OperatorService.UpdatePool", "", Role::kOperator},
    {"OperatorService.Drain", "", Role::kOperator},
    {"OperatorService.InjectFault", "", Role::kOperator},
};

const char* NameOf(Role role) {
  switch (role) {
    case Role::kHolder:
      return "holder";
    case Role::kViewer:
      return "viewer";
    case Role::kOperator:
      return "operator";
  }
  PGLESSOR_CHECK(false, "every role has a name");
}

}  // namespace

absl::Span<const Rule> Rules() { return kRules; }

const OneofDescriptor* SubjectOf(const Descriptor& request) {
  const OneofDescriptor* const subject = request.FindOneofByName("subject");
  return subject != nullptr ? subject : request.FindOneofByName("on");
}

Authorization::Authorization() {
  for (const Rule& rule : kRules) {
    const MethodDescriptor* const method =
        DescriptorPool::generated_pool()->FindMethodByName(absl::StrCat(kPackage, rule.rpc));
    PGLESSOR_CHECK(method != nullptr, "every rule is about an RPC that there is");
    const Descriptor& request = *method->input_type();
    Asked& asked = asked_[&request];
    PGLESSOR_CHECK(asked.rpc.empty() || asked.rpc == rule.rpc, "no two RPCs take the same request");
    asked.rpc = rule.rpc;
    asked.subject = SubjectOf(request);
    int arm = kNoArms;
    if (*rule.subject != '\0') {
      const FieldDescriptor* const field = request.FindFieldByName(rule.subject);
      PGLESSOR_CHECK(field != nullptr && field->containing_oneof() == asked.subject,
                     "every rule is about an arm that there is");
      arm = field->number();
    }
    PGLESSOR_CHECK(asked.roles.emplace(arm, rule.role).second, "there is one rule about one thing");
  }
}

absl::Status Authorization::Check(const Caller& caller, const Message& request) const {
  const auto found = asked_.find(request.GetDescriptor());
  if (found == asked_.end()) return PermissionDenied(caller, "nothing says who may call this");
  const Asked& asked = found->second;
  const FieldDescriptor* arm = nullptr;
  if (asked.subject != nullptr) {
    arm = request.GetReflection()->GetOneofFieldDescriptor(request, asked.subject);
    if (arm == nullptr) return absl::OkStatus();
  }
  const auto role = asked.roles.find(arm == nullptr ? kNoArms : arm->number());
  if (role == asked.roles.end()) return PermissionDenied(caller, "nothing says who may call this");
  if (caller.May(role->second)) return absl::OkStatus();
  return PermissionDenied(
      caller, absl::StrCat(asked.rpc, arm == nullptr ? "" : " of ", arm == nullptr ? "" : arm->name(),
                           " needs the role ", NameOf(role->second)));
}

}  // namespace pglessor::rpc
