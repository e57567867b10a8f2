// Openings, above all those that fail.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/postgres/session_support.h"
#include "tests/support/status_matchers.h"

namespace pglessor::postgres {
namespace {

using namespace std::chrono_literals;
using embedded::Eventually;
using test::HasReason;
using test::StatusIs;
using testing::HasSubstr;
using testing::Not;

class ConnectorTest : public SessionTest {
 protected:
  // Why it could not be opened.
  absl::Status OpenWith(const std::string& dsn, core::Duration timeout = kPatience) {
    Connector connector(edge_.loop(), edge_.control(), {dsn, "pglessor"});
    test::Answer<absl::StatusOr<std::shared_ptr<core::Connection>>> opened;
    connector.Open({timeout, ""}, opened.Callback(), [] { ADD_FAILURE() << "lost before it was opened"; });
    EXPECT_TRUE(Eventually([&] { return opened.here(); }, 2 * kPatience));
    return opened->status();
  }

  static std::string With(std::string dsn, const std::string& from, const std::string& to) {
    const size_t at = dsn.find(from);
    EXPECT_NE(at, std::string::npos) << dsn;
    return dsn.replace(at, from.size(), to);
  }
};

TEST_F(ConnectorTest, OpensAConnectionThatKnowsItsBackend) {
  LeasedSession session(edge_);
  EXPECT_EQ(session.Value("SELECT pg_backend_pid()"), absl::StrCat(session.pid()));
  EXPECT_EQ(session.Value("SELECT current_user || '@' || current_database()"), "app@app");
  EXPECT_EQ(session.Value("SHOW application_name"), "pglessor");
  EXPECT_EQ(session.Value("SHOW client_encoding"), "UTF8");
}

TEST_F(ConnectorTest, OverridesWhatADsnSaysOfEncodingAndName) {
  PostgresEdge edge(TheServer().dsn() + " client_encoding=LATIN1 application_name=theirs",
                    TheServer().control_dsn());
  LeasedSession session(edge);
  EXPECT_EQ(session.Value("SHOW client_encoding"), "UTF8");
  EXPECT_EQ(session.Value("SHOW application_name"), "pglessor");
}

TEST_F(ConnectorTest, OpensManyAtOnce) {
  std::vector<test::Answer<absl::StatusOr<std::shared_ptr<core::Connection>>>> opened(10);
  for (auto& answer : opened) edge_.connector().Open({kPatience, ""}, answer.Callback(), [] {});
  for (auto& answer : opened) {
    ASSERT_TRUE(Eventually([&] { return answer.here(); }, 2 * kPatience));
    EXPECT_TRUE(answer->ok()) << answer->status();
  }
}

TEST_F(ConnectorTest, SaysThatCredentialsAreRefused) {
  const std::string nobody = With(TheServer().dsn(), "user=app", "user=nobody");
  EXPECT_THAT(OpenWith(nobody + " password=hunter2"), HasReason("DATABASE_AUTH_FAILED"));
  EXPECT_THAT(std::string(OpenWith(nobody + " password=hunter2").message()), Not(HasSubstr("hunter2")));
  EXPECT_THAT(OpenWith(With(TheServer().dsn(), "dbname=app", "dbname=nowhere")),
              HasReason("DATABASE_AUTH_FAILED"));
}

TEST_F(ConnectorTest, SaysThatThereIsNoServer) {
  EXPECT_THAT(OpenWith("host=/nowhere dbname=x"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(OpenWith("host=127.0.0.1 port=1 dbname=x"), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ConnectorTest, SaysThatPostgresHasTooManyConnections) {
  observer_.Query("ALTER ROLE app CONNECTION LIMIT 0");
  EXPECT_THAT(OpenWith(TheServer().dsn()), StatusIs(absl::StatusCode::kResourceExhausted));
  observer_.Query("ALTER ROLE app CONNECTION LIMIT -1");
  observer_.Query("ALTER DATABASE app CONNECTION LIMIT 0");
  EXPECT_THAT(OpenWith(TheServer().dsn()), StatusIs(absl::StatusCode::kResourceExhausted));
  observer_.Query("ALTER DATABASE app CONNECTION LIMIT -1");
}

// --- with a query that a connection must answer --------------------------------------------------

class ValidatingConnectorTest : public ConnectorTest {
 protected:
  // What opening one answers, with this validation.
  absl::StatusOr<std::shared_ptr<core::Connection>> OpenValidated(const Validation& validation) {
    edge_.connector().SetValidation(validation);
    test::Answer<absl::StatusOr<std::shared_ptr<core::Connection>>> opened;
    edge_.connector().Open({kPatience, ""}, opened.Callback(),
                           [] { ADD_FAILURE() << "lost, and nobody has it"; });
    EXPECT_TRUE(Eventually([&] { return opened.here(); }, 2 * kPatience));
    return *opened;
  }
  core::Connection::CleanReport Probe(core::Connection& connection) {
    test::Answer<core::Connection::CleanReport> probed;
    connection.Probe(probed.Callback());
    EXPECT_TRUE(Eventually([&] { return probed.here(); }, kPatience));
    return *probed;
  }
  std::string Backends() {
    return observer_.Query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pglessor'");
  }
};

TEST_F(ValidatingConnectorTest, OpensWhatAnswersAsExpected) {
  for (const Validation& validation :
       {Validation{"SELECT current_database()", "app"}, Validation{"SELECT 1 WHERE false", ""},
        Validation{"SET work_mem = '2MB'", ""}, Validation{"", ""}}) {
    const auto opened = OpenValidated(validation);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_TRUE(Probe(**opened).ok());
  }
}

TEST_F(ValidatingConnectorTest, ClosesWhatDoesNot) {
  const std::string before = Backends();
  const struct {
    Validation validation;
    const char* says;
  } cases[] = {
      {{"SELECT current_database()", "other"}, "validate_query answered app; expected other"},
      {{"SELECT 1 WHERE false", "1"}, "answered nothing"},
      {{"SELECT * FROM no_such_table", ""}, "no_such_table"},
      {{"SELECT 1/0; SELECT 1", "1"}, "division by zero"},
      {{"BEGIN", ""}, "a transaction open"},
      {{"SELECT pg_sleep(600)", ""}, "no answer to a probe"},
      {{"SELECT pg_terminate_backend(pg_backend_pid())", ""}, "lost"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.validation.query);
    const auto opened = OpenValidated(c.validation);
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(std::string(opened.status().message()), HasSubstr(c.says));
    EXPECT_EQ(Backends(), before) << "it is told when the backend has gone";
  }
}

TEST_F(ValidatingConnectorTest, ProbesByIt) {
  observer_.Query(
      "CREATE TABLE fit (yes boolean); INSERT INTO fit VALUES (true); GRANT SELECT ON fit TO app");
  const auto opened = OpenValidated({"SELECT yes FROM fit", "t"});
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_TRUE(Probe(**opened).ok());
  observer_.Query("UPDATE fit SET yes = false");
  EXPECT_FALSE(Probe(**opened).ok());
  observer_.Query("DROP TABLE fit");
}

// --- servers that hang ---------------------------------------------------------------------------

// Listens where a PostgreSQL would, and says nothing.
class SilentServer {
 public:
  SilentServer() : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = (tmpdir_.path() / ".s.PGSQL.5432").string();
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(socket_, 5), 0);
  }
  ~SilentServer() { close(socket_); }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;

  std::string dsn() const { return "dbname=x port=5432 host=" + tmpdir_.path().string(); }

 private:
  const embedded::OwnTmpdir tmpdir_;
  const int socket_;
};

TEST_F(ConnectorTest, GivesUpOnAServerThatSaysNothing) {
  TheServer();  // before $TMPDIR changes
  const SilentServer silent;
  const absl::Status status = OpenWith(silent.dsn(), 50ms);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(status.message()), HasSubstr("longer than 50 ms"));
}

}  // namespace
}  // namespace pglessor::postgres
