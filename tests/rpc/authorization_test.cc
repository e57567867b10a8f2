// The table of who may call what, held against the protos: an RPC without a row fails here.
#include "server/rpc/authorization.h"

#include <google/protobuf/descriptor.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "pglessor/v1/lease_service.pb.h"
#include "pglessor/v1/sql_service.pb.h"
#include "tests/support/status_matchers.h"

namespace pglessor::rpc {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::OneofDescriptor;
using google::protobuf::ServiceDescriptor;
using test::HasReason;
using test::IsOk;

// "SERVICE.METHOD ARM", as the protos have them.
void AddThings(const MethodDescriptor& method, std::multiset<std::string>& things) {
  const std::string rpc = absl::StrCat(method.service()->name(), ".", method.name());
  const OneofDescriptor* const subject = SubjectOf(*method.input_type());
  if (subject == nullptr) things.insert(absl::StrCat(rpc, " "));
  for (int i = 0; subject != nullptr && i < subject->field_count(); ++i) {
    things.insert(absl::StrCat(rpc, " ", subject->field(i)->name()));
  }
}

std::multiset<std::string> ThingsInProtos() {
  std::multiset<std::string> things;
  for (const auto& file : std::filesystem::directory_iterator(PGLESSOR_PROTO_FOLDER)) {
    if (file.path().extension() != ".proto") continue;
    const std::string name = absl::StrCat("pglessor/v1/", file.path().filename().string());
    const FileDescriptor* const descriptor = DescriptorPool::generated_pool()->FindFileByName(name);
    EXPECT_NE(descriptor, nullptr) << name << " is not linked into this test: use a message of it";
    for (int i = 0; descriptor != nullptr && i < descriptor->service_count(); ++i) {
      const ServiceDescriptor& service = *descriptor->service(i);
      for (int j = 0; j < service.method_count(); ++j) AddThings(*service.method(j), things);
    }
  }
  return things;
}

TEST(Authorization, HasExactlyOneRowForEachRpcAndSubject) {
  std::multiset<std::string> rows;
  for (const Rule& rule : Rules()) rows.insert(absl::StrCat(rule.rpc, " ", rule.subject));
  EXPECT_EQ(rows, ThingsInProtos());
}

// The whole table again, by hand and from the contract: a row that changes must change here too.
TEST(Authorization, AsksForTheRoleThatTheContractNames) {
  const std::map<std::string, Role> expected = {
      {"LeaseService.Acquire ", Role::kHolder},
      {"LeaseService.Release ", Role::kHolder},
      {"LeaseService.Renew lease_token", Role::kHolder},
      {"LeaseService.Renew pool", Role::kOperator},
      {"LeaseService.Expire lease_token", Role::kHolder},
      {"LeaseService.Expire lease_id", Role::kOperator},
      {"LeaseService.Expire leases", Role::kOperator},
      {"LeaseService.Expire connections", Role::kOperator},
      {"LeaseService.Reset ", Role::kOperator},
      {"LeaseService.Stats ", Role::kViewer},
      {"SqlService.Execute lease_token", Role::kHolder},
      {"SqlService.Execute once", Role::kHolder},
      {"SqlService.Session ", Role::kHolder},
      {"OperatorService.ListLeases ", Role::kViewer},
      {"OperatorService.ListConnections ", Role::kViewer},
      {"OperatorService.WatchEvents ", Role::kViewer},
      {"OperatorService.PausePool ", Role::kOperator},
      {"OperatorService.ResumePool ", Role::kOperator},
      {"OperatorService.UpdatePool ", Role::kOperator},
      {"OperatorService.Drain ", Role::kOperator},
      {"OperatorService.InjectFault ", Role::kOperator},
  };
  for (const Rule& rule : Rules()) {
    const auto row = expected.find(absl::StrCat(rule.rpc, " ", rule.subject));
    ASSERT_NE(row, expected.end()) << rule.rpc;
    EXPECT_EQ(rule.role, row->second) << rule.rpc << " " << rule.subject;
  }
}

TEST(Authorization, RefusesWhatHasNoRow) {
  const Authorization authorization;
  EXPECT_THAT(authorization.Check(Caller::Anonymous(), v1::Lease()), HasReason("PERMISSION_DENIED"));
}

TEST(Authorization, LeavesAMissingSubjectToTheRpc) {
  const Authorization authorization;
  EXPECT_THAT(authorization.Check(Caller::Anonymous(), v1::RenewRequest()), IsOk());
}

TEST(Authorization, SaysWhichRoleIsMissing) {
  const Authorization authorization;
  const Caller web({.name = "web",
                    .roles = {Role::kHolder},
                    .tenants = {"shop"},
                    .secret_sha256 = {},
                    .certificates = {}});
  v1::ExpireRequest request;
  request.set_lease_id("replica-1-1");
  EXPECT_EQ(authorization.Check(web, request).message(),
            "not for \"web\": LeaseService.Expire of lease_id needs the role operator");
  EXPECT_EQ(authorization.Check(web, v1::ResetRequest()).message(),
            "not for \"web\": LeaseService.Reset needs the role operator");
}

}  // namespace
}  // namespace pglessor::rpc
