// What can be said on the command line, and what is answered to what cannot.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/system/support/system_test.h"
#include "tests/system/support/temporary_folder.h"

namespace pglessor::system {
namespace {

using grpc::StatusCode;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

// A port of this machine that nobody listens on, kept from others while it lives.
class UnusedPort {
 public:
  UnusedPort() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(socket_, any, size), 0);
    EXPECT_EQ(getsockname(socket_, any, &size), 0);
    address_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  }
  ~UnusedPort() { close(socket_); }
  UnusedPort(const UnusedPort&) = delete;
  UnusedPort& operator=(const UnusedPort&) = delete;

  const std::string& address() const { return address_; }

 private:
  const int socket_;
  std::string address_;
};

class CommandLineTest : public SystemTest {
 protected:
  // Refused as a whole: exit 2, one line for each fault, nothing on stdout, nothing started.
  static std::vector<std::string> Faults(const Flags& flags) {
    const TemporaryFolder folder;
    const FinishedRun run = RunPglessor(flags, {{"TMPDIR", folder.path()}});
    EXPECT_EQ(run.exit, 2);
    EXPECT_EQ(run.output, "");
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    std::vector<std::string> lines = absl::StrSplit(run.log, '\n', absl::SkipEmpty());
    EXPECT_THAT(lines, Each(StartsWith("pglessor: ")));
    return lines;
  }

  std::string Dsn() { return absl::StrCat("--dsn=", database().dsn()); }
  std::string ControlDsn() { return absl::StrCat("--control-dsn=", database().control_dsn()); }
};

TEST_F(CommandLineTest, EachFaultHasItsLine) {
  EXPECT_THAT(Faults({"--embedded", "--min-connections=30", "--drain-timeout=soon"}),
              testing::UnorderedElementsAre(
                  AllOf(HasSubstr("--min-connections"), HasSubstr("20")),
                  AllOf(HasSubstr("--drain-timeout"), HasSubstr("soon"), HasSubstr("30s"))));
}

TEST_F(CommandLineTest, WhatIsRefused) {
  struct Case {
    Flags flags;
    const char* says;
  };
  const Case cases[] = {
      {{}, "--embedded"},  // neither --dsn nor --embedded
      {{"--embedded", "--dsn=host=/nowhere"}, "both"},
      {{"--embedded", "--listen=0.0.0.0:0"}, "--insecure"},
      {{"--embedded", "--listen=[::]:0"}, "--insecure"},
      {{"--embedded", "--listen=example.com:7432"}, "--insecure"},
      {{"--embedded", "--listen=nonsense"}, "HOST:PORT"},
      {{"--embedded", "--listen=127.0.0.1:70000"}, "HOST:PORT"},
      {{"--embedded", "--listen=unix:"}, "unix:"},
      {{"--embedded", "--http=0.0.0.0:0"}, "--insecure"},
      {{"--embedded", "--http=nonsense"}, "HOST:PORT"},
      {{"--embedded", "--max-connections=0"}, "--max-connections"},
      {{"--embedded", "--max-connections=many"}, "many"},
      {{"--embedded", "--min-connections=-1"}, "--min-connections"},
      {{"--embedded", "--log-level=loud"}, "loud"},
      {{"--embedded", "--log-format=xml"}, "xml"},
      {{"--embedded", "--no-such-flag"}, "--no-such-flag"},
      {{"--dsn=host=/nowhere", "unexpected"}, "unexpected"},
      {{"--dsn=postgresql://user:canary@[::1/db"}, "--dsn"},
      {{"--dsn=password=canary nonsense"}, "--dsn"},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.says);
    const std::vector<std::string> lines = Faults(each.flags);
    EXPECT_EQ(lines.size(), 1U);
    if (!lines.empty()) {
      EXPECT_THAT(lines[0], HasSubstr(each.says));
      EXPECT_THAT(lines[0], Not(HasSubstr("canary")));
    }
  }
}

TEST_F(CommandLineTest, CheckConfigStartsNothing) {
  EXPECT_EQ(RunPglessor({"--embedded", "--check-config"}).exit, 0);
  EXPECT_THAT(Faults({"--embedded", "--check-config", "--max-connections=0"}), Not(IsEmpty()));
}

TEST_F(CommandLineTest, HelpListsEveryFlag) {
  const FinishedRun run = RunPglessor({"--help"});
  EXPECT_EQ(run.exit, 0);
  EXPECT_EQ(run.log, "");
  for (const char* flag : {"--listen",
                           "--advertise",
                           "--gateway-advertise",
                           "--dsn",
                           "--control-dsn",
                           "--min-connections",
                           "--max-connections",
                           "--embedded",
                           "--config",
                           "--gateway",
                           "--http",
                           "--tls-cert",
                           "--tls-key",
                           "--tls-client-ca",
                           "--drain-timeout",
                           "--reflection",
                           "--insecure",
                           "--enable-fault-injection",
                           "--log-level",
                           "--log-format",
                           "--check-config",
                           "--version",
                           "--help",
                           "probe",
                           "PGLESSOR_LISTEN",
                           "PGLESSOR_DSN",
                           "PGLESSOR_CONTROL_DSN"}) {
    EXPECT_THAT(run.output, HasSubstr(flag));
  }
}

TEST_F(CommandLineTest, Version) {
  const FinishedRun run = RunPglessor({"--version"});
  EXPECT_EQ(run.exit, 0);
  EXPECT_THAT(run.output, MatchesRegex("pglessor [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(CommandLineTest, TheReadyLineNamesWhatIsServedAndWhatIsOff) {
  Serve(1, 1);
  EXPECT_THAT(server().ready_line(),
              MatchesRegex("pglessor ready grpc=127\\.0\\.0\\.1:[0-9]+ gateway=off http=off"));
  EXPECT_EQ(server().process().Output(), server().ready_line() + "\n");
}

TEST_F(CommandLineTest, ItIsReadyOnceItsMinimumIsOpen) {
  Serve(7, 9);
  EXPECT_EQ(client().Stats().available(), 7);
}

TEST_F(CommandLineTest, TheEnvironmentSpeaksForFlags) {
  server_ = ServerProcess::Start({ControlDsn(), "--min-connections=1", "--drain-timeout=0s"},
                                 {{"PGLESSOR_DSN", database().dsn()}, {"PGLESSOR_LISTEN", "127.0.0.1:0"}});
  client_ = std::make_unique<Client>(server().address());
  EXPECT_THAT(client().Acquire(), IsOk());
}

TEST_F(CommandLineTest, AUnixSocketServes) {
  const TemporaryFolder folder;
  const std::string address = absl::StrCat("unix:", folder.path().string(), "/grpc");
  Serve(1, 1, {"--listen=" + address, "--drain-timeout=0s"});
  EXPECT_EQ(server().address(), address);
  EXPECT_THAT(client().Acquire(), IsOk());
  EXPECT_EQ(RunPglessor({"probe", address}).exit, 0);
}

TEST_F(CommandLineTest, SeveralAddressesServe) {
  const TemporaryFolder folder;
  const std::string socket = absl::StrCat("unix:", folder.path().string(), "/grpc");
  Serve(1, 1, {"--listen=127.0.0.1:0", "--listen=" + socket, "--drain-timeout=0s"});
  EXPECT_EQ(RunPglessor({"probe", server().address()}).exit, 0);
  EXPECT_EQ(RunPglessor({"probe", socket}).exit, 0);
}

TEST_F(CommandLineTest, AnAddressInUseIsNamed) {
  Serve(1, 1);
  const FinishedRun second =
      RunPglessor({Dsn(), ControlDsn(), absl::StrCat("--listen=", server().address()), "--http="});
  EXPECT_EQ(second.exit, 1);
  EXPECT_EQ(second.output, "");
  EXPECT_THAT(second.log, HasSubstr(server().address()));
}

TEST_F(CommandLineTest, ProbeAsksOnce) {
  Serve(1, 1);
  EXPECT_EQ(RunPglessor({"probe", server().address()}).exit, 0);
  const UnusedPort nobody;
  const FinishedRun run = RunPglessor({"probe", nobody.address()});
  EXPECT_EQ(run.exit, 1);
  EXPECT_THAT(run.log, HasSubstr(nobody.address()));
}

TEST_F(CommandLineTest, AdvertiseIsWhatALeaseSays) {
  Serve(1, 1, {"--advertise=db.example:7000", "--drain-timeout=0s"});
  EXPECT_EQ(Acquire().lease.server_address(), "db.example:7000");
}

TEST_F(CommandLineTest, AdvertiseWithoutAPortHasThatOfTheFirstTcpAddress) {
  const TemporaryFolder folder;
  const std::string socket = "unix:" + (folder.path() / "socket").string();
  Serve(1, 1,
        {"--listen=" + socket, "--listen=127.0.0.1:0", "--advertise=db.internal", "--drain-timeout=0s"});
  EXPECT_EQ(server().address(), socket);
  EXPECT_THAT(Acquire().lease.server_address(), testing::MatchesRegex("db\\.internal:[1-9][0-9]*"));
}

// --- a database that refuses -------------------------------------------------------------------

class RefusedTest : public CommandLineTest {
 protected:
  void ServeWith(const std::string& dsn) {
    server_ = ServerProcess::Start(
        {"--dsn=" + dsn, ControlDsn(), "--min-connections=0", "--max-connections=2", "--log-level=debug"});
    client_ = std::make_unique<Client>(server().address());
  }
  Outcome AcquireWithin(std::chrono::milliseconds wait) {
    v1::AcquireRequest request;
    *request.mutable_wait_timeout() = Span(wait);
    return client().Acquire(request);
  }
};

TEST_F(RefusedTest, AnUnknownRole) {
  std::string dsn = database().dsn();
  dsn.replace(dsn.find("user=app"), 8, "user=nobody password=canary");
  ServeWith(dsn);
  for (const int wait : {0, 300}) {
    EXPECT_THAT(AcquireWithin(std::chrono::milliseconds(wait)),
                FailsWith(StatusCode::FAILED_PRECONDITION, "DATABASE_AUTH_FAILED"));
  }
  EXPECT_EQ(client().Stats().total(), 0);
  EXPECT_THAT(server().Log(), AllOf(HasSubstr("nobody"), Not(HasSubstr("canary"))));
}

TEST_F(RefusedTest, AWrongPassword) {
  // One that has to give a password: a line of its own in the server's access rules.
  const std::string rules = observer().Value("SHOW hba_file");
  observer().Run("CREATE ROLE locked LOGIN PASSWORD 'right'");
  std::ofstream(rules, std::ios::app) << "local app locked scram-sha-256\n";
  observer().Run("SELECT pg_reload_conf()");
  std::string dsn = database().dsn();
  dsn.replace(dsn.find("user=app"), 8, "user=locked password=right");
  ASSERT_TRUE(Eventually([&] { return PQping(dsn.c_str()) == PQPING_OK; }));
  ASSERT_TRUE(Eventually([&] {
    PGconn* const connection = PQconnectdb(dsn.c_str());
    const bool connected = PQstatus(connection) == CONNECTION_OK;
    PQfinish(connection);
    return connected;
  }));

  dsn.replace(dsn.find("=right"), 6, "=canary");
  ServeWith(dsn);
  EXPECT_THAT(AcquireWithin(std::chrono::milliseconds(300)),
              FailsWith(StatusCode::FAILED_PRECONDITION, "DATABASE_AUTH_FAILED"));
  EXPECT_THAT(server().Log(), AllOf(HasSubstr("password"), Not(HasSubstr("canary"))));
}

TEST_F(RefusedTest, NoDatabaseThere) {
  const UnusedPort nobody;
  const std::vector<std::string> parts = absl::StrSplit(nobody.address(), ':');
  ServeWith(absl::StrCat("host=127.0.0.1 port=", parts[1], " user=app dbname=app password=canary"));
  const Outcome refused = AcquireWithin(std::chrono::milliseconds(300));
  EXPECT_THAT(refused, FailsWith(StatusCode::UNAVAILABLE, "DATABASE_UNAVAILABLE"));
  EXPECT_TRUE(refused.retry_after.has_value());
  EXPECT_THAT(server().Log(), Not(HasSubstr("canary")));
}

TEST_F(RefusedTest, NoSecretIsInTheLog) {
  Serve(1, 1, {"--log-level=debug", "--drain-timeout=0s"});
  const Held held = Acquire();
  client().Execute(held.token, "SELECT $1::int", {Text("canary-parameter")});
  client().Execute(held.token, "SELECT 'canary-statement' FROM nowhere");
  observer().Terminate(held.lease.backend_pid());
  EXPECT_TRUE(Eventually([&] { return client().Stats().counters().lost() == 1; }));
  client().Release(held.token);
  EXPECT_THAT(server().Log(), AllOf(Not(HasSubstr(held.token)), Not(HasSubstr("canary"))));
}

}  // namespace
}  // namespace pglessor::system
