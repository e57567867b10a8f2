#include "server/postgres/opening.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "server/postgres/error_status.h"

namespace pglessor::postgres {
namespace {

// Our own row, which every role may see. Of the function under pg_stat_activity: the view is the first of
// everything that a new backend's empty caches would have to look up, and costs it a third of its opening.
// Microseconds, since text would depend on DateStyle and time zone.
constexpr char kWhoAmI[] =
    "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::int8 FROM "
    "pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())";

struct FinishConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};

// Kept alive by its timer, which it cancels when it has called `opened`.
class Opening : public Backend::Listener, public std::enable_shared_from_this<Opening> {
 public:
  Opening(executor::EventLoop& loop, BackendOpened opened) : loop_(loop), opened_(std::move(opened)) {}

  void Start(const Address& address, core::Duration timeout) {
    timer_ = loop_.RunAfter(timeout, [self = shared_from_this(), timeout] {
      self->Finish(absl::UnavailableError(
          absl::StrCat("opening a connection took longer than ",
                       std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count(), " ms")));
    });
    // The DSN first: what stands behind it overrides it.
    const std::array<const char*, 8> keys = {
        "dbname", "application_name", "client_encoding", "keepalives", "tcp_user_timeout", "user", "password",
        nullptr};
    // libpq takes an empty value for none.
    const std::array<const char*, 8> values = {
        address.dsn.c_str(),  address.application_name.c_str(), "UTF8", "1", "15000",
        address.role.c_str(), address.password.c_str(),         nullptr};
    raw_.reset(PQconnectStartParams(keys.data(), values.data(), /*expand_dbname=*/1));
    if (raw_ == nullptr) {
      FinishLater(absl::ResourceExhaustedError("no memory for a connection"));
      return;
    }
    // Only so does the message say the SQLSTATE.
    PQsetErrorVerbosity(raw_.get(), PQERRORS_VERBOSE);
    // Its very first state is "writing", and a failure shows only when polled.
    loop_.Post([self = shared_from_this(), this] {
      if (opened_ != nullptr)
        Poll(PQstatus(raw_.get()) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING);
    });
  }

  void OnResult(const PGresult& result) override {
    int64_t start = 0;
    int32_t pid = 0;
    if (PQntuples(&result) == 1 && absl::SimpleAtoi(PQgetvalue(&result, 0, 0), &pid) &&
        absl::SimpleAtoi(PQgetvalue(&result, 0, 1), &start)) {
      backend_->SetIdentity({pid, start});
    }
  }
  void OnReady() override {
    if (backend_->identity().pid == 0) {
      FinishLater(absl::UnavailableError("the new connection's backend did not say who it is"));
    } else {
      FinishLater(absl::OkStatus());
    }
  }
  void OnNotice(const PGresult&) override {}
  void OnLost(const absl::Status& why) override { FinishLater(why); }

 private:
  void Poll(PostgresPollingStatusType status) {
    watch_.reset();  // libpq may have taken another socket for the next host
    switch (status) {
      case PGRES_POLLING_FAILED:
        Finish(OpenError(PQerrorMessage(raw_.get())));
        return;
      case PGRES_POLLING_OK:
        Identify();
        return;
      default:
        watch_ = loop_.WatchSocket(PQsocket(raw_.get()), [this](bool, bool) {
          const std::shared_ptr<Opening> alive = shared_from_this();
          Poll(PQconnectPoll(raw_.get()));
        });
        watch_->Want(status == PGRES_POLLING_READING, status == PGRES_POLLING_WRITING);
    }
  }

  void Identify() {
    PQsetErrorVerbosity(raw_.get(), PQERRORS_DEFAULT);
    backend_ = std::make_unique<Backend>(loop_, raw_.release());
    backend_->SetListener(this);
    const absl::Status sent = backend_->SendSimple(kWhoAmI);
    if (!sent.ok()) FinishLater(sent);
  }

  // The backend must not be destroyed inside its own call.
  void FinishLater(const absl::Status& status) {
    loop_.Post([self = shared_from_this(), this, status] { Finish(status); });
  }

  void Finish(const absl::Status& status) {
    if (opened_ == nullptr) return;
    const std::shared_ptr<Opening> alive = shared_from_this();
    BackendOpened opened = std::exchange(opened_, nullptr);
    loop_.Cancel(timer_);
    watch_.reset();
    raw_.reset();
    std::unique_ptr<Backend> backend = std::move(backend_);
    if (!status.ok()) {
      opened(status);
      return;
    }
    backend->SetListener(nullptr);
    opened(std::move(backend));
  }

  executor::EventLoop& loop_;
  BackendOpened opened_;  // null once called
  executor::EventLoop::TimerId timer_;
  std::unique_ptr<PGconn, FinishConnection> raw_;  // until the backend owns it
  std::unique_ptr<executor::EventLoop::Watch> watch_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace

absl::Status CheckDsn(absl::string_view dsn) {
  char* error = nullptr;
  PQconninfoOption* const options = PQconninfoParse(std::string(dsn).c_str(), &error);
  if (options != nullptr) {
    PQconninfoFree(options);
    return absl::OkStatus();
  }
  PQfreemem(error);
  return absl::InvalidArgumentError(
      "expected a PostgreSQL URI (postgresql://user:password@host:port/database) or key=value "
      "pairs "
      "(host=… dbname=… user=…)");
}

void OpenBackend(executor::EventLoop& loop, const Address& address, core::Duration timeout,
                 BackendOpened opened) {
  std::make_shared<Opening>(loop, std::move(opened))->Start(address, timeout);
}

}  // namespace pglessor::postgres
