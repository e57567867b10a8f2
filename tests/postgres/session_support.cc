#include "tests/postgres/session_support.h"

#include <signal.h>

#include <fstream>
#include <stdexcept>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "tests/support/freeze.h"
#include "tests/support/status_matchers.h"

namespace pglessor::postgres {
namespace {

using embedded::Eventually;

class ServerEnvironment : public testing::Environment {
 public:
  void TearDown() override {
    server_.reset();
    tmpdir_.reset();
  }

  EmbeddedServer& server() {
    if (server_ == nullptr) {
      tmpdir_ = std::make_unique<embedded::OwnTmpdir>();
      auto started = EmbeddedServer::Start({});
      if (!started.ok()) throw std::runtime_error(started.status().ToString());
      server_ = *std::move(started);
      // As PostgreSQL is by default, where a backend that runs does not notice that its client has gone.
      embedded::Query(server_->control_dsn(), "ALTER ROLE app SET client_connection_check_interval = 0");
    }
    return *server_;
  }

 private:
  std::unique_ptr<embedded::OwnTmpdir> tmpdir_;
  std::unique_ptr<EmbeddedServer> server_;
};

ServerEnvironment* const environment =
    dynamic_cast<ServerEnvironment*>(testing::AddGlobalTestEnvironment(new ServerEnvironment));

pid_t ParentOf(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    pid_t parent = 0;
    if (line.starts_with("PPid:") && absl::SimpleAtoi(line.substr(5), &parent)) return parent;
  }
  return 0;
}

}  // namespace

EmbeddedServer& TheServer() { return environment->server(); }

StoppedBackend::StoppedBackend(const EmbeddedServer& server, pid_t pid) {
  if (ParentOf(pid) != server.postmaster_pid()) {
    ADD_FAILURE() << pid << " is no process of the test's server";
    return;
  }
  pid_ = pid;
  EXPECT_TRUE(test::Freeze(pid_));
}

void StoppedBackend::Continue() {
  if (pid_ != 0) kill(pid_, SIGCONT);
  pid_ = 0;
}

PostgresEdge::PostgresEdge(const EmbeddedServer& server) : PostgresEdge(server.dsn(), server.control_dsn()) {}

PostgresEdge::PostgresEdge(const std::string& dsn, const std::string& control_dsn)
    : control_(loop_, {control_dsn, "pglessor-control"}), connector_(loop_, control_, {dsn, "pglessor"}) {
  control_.Start();
  thread_ = std::thread([this] { loop_.Run(); });
}

PostgresEdge::~PostgresEdge() {
  loop_.Stop();
  thread_.join();
}

LeasedSession::LeasedSession(PostgresEdge& edge) {
  test::Answer<absl::StatusOr<std::shared_ptr<core::Connection>>> opened;
  edge.connector().Open({kPatience, ""}, opened.Callback(), [losses = losses_] { ++*losses; });
  if (!Eventually([&] { return opened.here(); }, 2 * kPatience)) throw std::runtime_error("did not open");
  if (!opened->ok()) throw std::runtime_error(opened->status().ToString());
  connection_ = **opened;
}

LeasedSession::Sink LeasedSession::Start(core::StatementKey key, core::Statement statement) {
  auto sink = std::make_shared<test::RecordingSink>();
  connection_->Execute(key, std::move(statement), sink);
  return sink;
}

LeasedSession::Sink LeasedSession::Start(const std::string& sql) { return Start(NextKey(), Sql(sql)); }

LeasedSession::Sink LeasedSession::Run(core::Statement statement) {
  const std::string sql = statement.sql.substr(0, 100);
  Sink sink = Start(NextKey(), std::move(statement));
  if (!Ended(sink)) throw std::runtime_error("did not end: " + sql);
  return sink;
}

LeasedSession::Sink LeasedSession::Run(const std::string& sql) { return Run(Sql(sql)); }

void LeasedSession::MustRun(const std::vector<std::string>& statements) {
  for (const std::string& sql : statements) {
    const Sink sink = Run(sql);
    EXPECT_EQ(sink->end().how, core::StatementEnd::How::kDone) << sql << ": " << sink->end().error;
  }
}

std::string LeasedSession::Value(const std::string& sql) {
  const Sink sink = Run(sql);
  if (sink->end().how != core::StatementEnd::How::kDone) {
    return absl::StrCat("ERROR ", test::MetadataOf(sink->end().error, "sqlstate"));
  }
  return sink->rows().empty() ? "" : sink->rows().front().front();
}

core::Connection::CleanReport LeasedSession::Clean(bool& transaction_was_open) {
  test::Answer<core::Connection::FenceReport> fenced;
  test::Answer<core::Connection::CleanReport> cleaned;
  connection_->Clean(lease_, fenced.Callback(), cleaned.Callback());
  if (!Eventually([&] { return cleaned.here(); }, kPatience)) throw std::runtime_error("was not cleaned");
  EXPECT_TRUE(fenced.here()) << "cleaned before it was fenced";
  if (fenced.here()) transaction_was_open = fenced->transaction_was_open;
  BeginNextLease();
  return *cleaned;
}

core::Connection::CleanReport LeasedSession::Clean() {
  bool ignored = false;
  return Clean(ignored);
}

void LeasedSession::Fence() {
  test::Answer<core::Connection::FenceReport> fenced;
  connection_->Fence(lease_, fenced.Callback());
  if (!Eventually([&] { return fenced.here(); }, kPatience)) throw std::runtime_error("was not fenced");
  BeginNextLease();
}

std::shared_ptr<LeasedSession::Closing> LeasedSession::Close() {
  auto closing = std::make_shared<Closing>();
  connection_->Close({.gone = [closing] { ++closing->gone; }, .stuck = [closing] { ++closing->stuck; }});
  return closing;
}

bool Ended(const LeasedSession::Sink& sink) {
  return Eventually([&] { return sink->ended(); }, kPatience);
}

Observer::Observer(const EmbeddedServer& server) : connection_(PQconnectdb(server.control_dsn().c_str())) {
  EXPECT_EQ(PQstatus(connection_), CONNECTION_OK) << PQerrorMessage(connection_);
}

Observer::~Observer() { PQfinish(connection_); }

std::string Observer::Query(const std::string& sql) {
  PGresult* const result = PQexec(connection_, sql.c_str());
  std::string answer = PQresultErrorMessage(result);
  if (answer.empty() && PQntuples(result) > 0) answer = PQgetvalue(result, 0, 0);
  PQclear(result);
  return answer;
}

std::string Observer::Identity(int32_t pid) {
  return Query(absl::StrCat("SELECT pid || '/' || backend_start FROM pg_stat_activity WHERE pid = ", pid));
}

bool Observer::Sees(const std::string& identity) {
  return Query("SELECT count(*) FROM pg_stat_activity WHERE pid || '/' || backend_start = '" + identity +
               "'") != "0";
}

std::string Observer::Activity(int32_t pid) {
  return Query(absl::StrCat("SELECT state || ': ' || query FROM pg_stat_activity WHERE pid = ", pid));
}

bool Observer::SeesSleep(int32_t pid) {
  const std::string sql = absl::StrCat("SELECT wait_event FROM pg_stat_activity WHERE pid = ", pid);
  return Eventually([&] { return Query(sql) == "PgSleep"; }, kPatience);
}

int32_t Observer::ControlPid() {
  int32_t pid = 0;
  const std::string answer = Query(
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'pglessor-control' "
      "ORDER BY backend_start DESC LIMIT 1");
  return absl::SimpleAtoi(answer, &pid) ? pid : 0;
}

}  // namespace pglessor::postgres
