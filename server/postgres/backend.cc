#include "server/postgres/backend.h"

#include <sys/socket.h>

#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "server/core/check.h"
#include "server/postgres/error_status.h"

namespace pglessor::postgres {
namespace {

constexpr Oid kByteaOid = 17;
constexpr Oid kInferredOid = 0;
constexpr int kText = 0;
constexpr int kBinary = 1;
constexpr size_t kMaxParameters = 65'535;

// For triggers and for people. Advisory: a holder may set them to something else.
constexpr char kSetLabel[] =
    "SELECT pg_catalog.set_config('pglessor.lease_id', $1, false), "
    "pg_catalog.set_config('pglessor.fencing_token', $2, false), "
    "pg_catalog.set_config('application_name', $3, false)";

// PostgreSQL cuts it at 63 bytes; the settings are whole. None of the parts is the holder's free text.
std::string ApplicationName(const core::LeaseLabel& label) {
  return absl::StrCat("pglessor ", label.pool, "/", label.tenant, " ", label.lease_id);
}

// Parameters as libpq takes them. It points into those that it was made of.
struct WireParameters {
  explicit WireParameters(const std::vector<core::Parameter>& parameters)
      : types(parameters.size()),
        values(parameters.size()),
        lengths(parameters.size()),
        formats(parameters.size()) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      const core::Parameter& parameter = parameters[i];
      types[i] = parameter.binary ? kByteaOid : kInferredOid;
      values[i] = parameter.value ? parameter.value->c_str() : nullptr;
      lengths[i] = parameter.value ? static_cast<int>(parameter.value->size()) : 0;
      formats[i] = parameter.binary ? kBinary : kText;
    }
  }
  int count() const { return static_cast<int>(types.size()); }

  std::vector<Oid> types;
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
};

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, ClearResult>;

}  // namespace

Backend::Backend(executor::EventLoop& loop, PGconn* raw) : loop_(loop), connection_(raw), raw_(raw) {
  PGLESSOR_CHECK(PQsetnonblocking(raw_, 1) == 0, "an open connection can be made non-blocking");
  PQsetNoticeReceiver(
      raw_, [](void* self, const PGresult* notice) { static_cast<Backend*>(self)->OnNotice(*notice); }, this);
  watch_ = loop_.WatchSocket(PQsocket(raw_),
                             [this](bool readable, bool writable) { OnSocket(readable, writable); });
  // Idle too: an end of the connection shows as something to read.
  UpdateWatch();
}

Backend::~Backend() = default;

absl::Status Backend::SendStatement(const core::Statement& statement, const StatementWay& way) {
  PGLESSOR_CHECK(!busy_, "one query at a time");
  if (watch_ == nullptr) return absl::OkStatus();  // its loss has been, or is being, told
  // Before anything is on its way: libpq would refuse it behind that.
  if (statement.parameters.size() > kMaxParameters) {
    return absl::InvalidArgumentError("more than 65535 parameters");
  }
  const WireParameters wire(statement.parameters);
  const std::string name = statement.label ? "" : way.name;
  bool sent = true;
  if (statement.label) {
    sent = SendLabel(*statement.label);
  } else if (way.how == StatementWay::How::kPrepare) {
    sent = SendPrepare(statement, name, wire.types);
  }
  if (name.empty()) {
    sent =
        sent && PQsendQueryParams(raw_, statement.sql.c_str(), wire.count(), wire.types.data(),
                                  wire.values.data(), wire.lengths.data(), wire.formats.data(), kText) == 1;
  } else {
    sent = sent && PQsendQueryPrepared(raw_, name.c_str(), wire.count(), wire.values.data(),
                                       wire.lengths.data(), wire.formats.data(), kText) == 1;
  }
  if (pipelined_) sent = sent && PQpipelineSync(raw_) == 1;
  if (!sent && !pipelined_ && PQstatus(raw_) != CONNECTION_BAD) {
    return absl::InvalidArgumentError(ErrorText());
  }
  if (sent && !pipelined_) PQsetSingleRowMode(raw_);
  AfterSend(sent);
  return absl::OkStatus();
}

bool Backend::SendLabel(const core::LeaseLabel& label) {
  // In a pipeline, and with a Sync between the two: so the statement is in no transaction with it.
  if (PQenterPipelineMode(raw_) == 0) return false;
  pipelined_ = true;
  labelling_ = true;
  const std::string token = absl::StrCat(label.fencing_token);
  const std::string name = ApplicationName(label);
  const std::array<const char*, 3> values = {label.lease_id.c_str(), token.c_str(), name.c_str()};
  // What fails here shows when the statement itself is sent.
  PQsendQueryParams(raw_, kSetLabel, static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                    nullptr, kText);
  PQpipelineSync(raw_);
  return true;
}

bool Backend::SendPrepare(const core::Statement& statement, const std::string& name,
                          const std::vector<Oid>& types) {
  // No Sync between the two: what cannot be prepared is not run.
  if (PQenterPipelineMode(raw_) == 0) return false;
  pipelined_ = true;
  preparing_ = true;
  return PQsendPrepare(raw_, name.c_str(), statement.sql.c_str(), static_cast<int>(types.size()),
                       types.data()) == 1;
}

absl::Status Backend::SendSimple(const char* sql) {
  PGLESSOR_CHECK(!busy_, "one query at a time");
  if (watch_ == nullptr) return absl::OkStatus();
  AfterSend(PQsendQuery(raw_, sql) == 1);
  return absl::OkStatus();
}

void Backend::AfterSend(bool sent) {
  busy_ = true;
  unanswered_ = true;
  if (sent) {
    Flush();
  } else {
    LoseSoon(PQerrorMessage(raw_));
  }
}

void Backend::Pause() {
  paused_ = true;
  UpdateWatch();
}

void Backend::Resume() {
  if (!paused_) return;
  paused_ = false;
  UpdateWatch();
  Take();  // what libpq has read already will not make the socket readable again
}

void Backend::Cut() {
  cut_ = true;
  shutdown(PQsocket(raw_), SHUT_RDWR);
}

bool Backend::InTransaction() const {
  const PGTransactionStatusType status = PQtransactionStatus(raw_);
  return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

bool Backend::Idle() const { return !busy_ && PQtransactionStatus(raw_) == PQTRANS_IDLE; }

std::string Backend::Parameter(const char* name) const {
  const char* const value = PQparameterStatus(raw_, name);
  return value == nullptr ? "" : value;
}

void Backend::OnNotice(const PGresult& notice) {
  if (IsOfLibpq(notice)) {
    LoseSoon(PQresultErrorMessage(&notice));
  } else if (listener_ != nullptr) {
    listener_->OnNotice(notice);
  }
}

void Backend::OnSocket(bool readable, bool writable) {
  if (cut_) {
    Lose(absl::UnavailableError("the connection was cut"));
    return;
  }
  if (writable && unsent_) Flush();
  if (!readable || watch_ == nullptr) return;
  if (PQconsumeInput(raw_) == 0) {
    // What the server said last, its reason perhaps, is still to be had.
    const absl::Status why = absl::UnavailableError(ErrorText());
    Take();
    Lose(why);
    return;
  }
  // While it still sends: PostgreSQL may not read on until its answers are taken.
  if (unsent_) Flush();
  if (!paused_) Take();
}

void Backend::Flush() {
  if (watch_ == nullptr) return;
  const int left = PQflush(raw_);
  if (left < 0) {
    LoseSoon(PQerrorMessage(raw_));
    return;
  }
  unsent_ = left > 0;
  UpdateWatch();
}

void Backend::Take() {
  while (watch_ != nullptr && !paused_) {
    if (copying_out_ ? !TakeCopyData() : !TakeResult()) break;
  }
  while (PGnotify* const notification = PQnotifies(raw_)) PQfreemem(notification);
}

bool Backend::TakeCopyData() {
  char* row = nullptr;
  const int got = PQgetCopyData(raw_, &row, /*async=*/1);
  if (row != nullptr) PQfreemem(row);
  if (got == 0) return false;
  if (got < 0) copying_out_ = false;
  return true;
}

// After one step's results in a pipeline; perhaps its Sync is still to come.
void Backend::EndStep() {
  if (!std::exchange(preparing_, false)) return;
  PQsetSingleRowMode(raw_);  // of the statement that was prepared
}

// After one statement's answer in a pipeline.
bool Backend::TakeSync() {
  if (std::exchange(labelling_, false)) {
    PQsetSingleRowMode(raw_);  // of the statement behind the label
    return true;
  }
  // Fails where more has come than was asked for.
  pipelined_ = PQexitPipelineMode(raw_) != 1;
  return false;
}

bool Backend::TakeResult() {
  if (!busy_ || PQisBusy(raw_) == 1) return false;
  const ResultPtr result(PQgetResult(raw_));
  if (result == nullptr && pipelined_) {
    EndStep();
    return true;
  }
  const bool synced = result != nullptr && PQresultStatus(result.get()) == PGRES_PIPELINE_SYNC;
  if (synced && TakeSync()) return true;
  if (result == nullptr || synced) {
    if (pipelined_ || unanswered_ || PQtransactionStatus(raw_) == PQTRANS_UNKNOWN) {
      Lose(absl::UnavailableError("the database does not end its answer as PostgreSQL does"));
      return false;
    }
    busy_ = false;
    listener_->OnReady();
    return watch_ != nullptr && busy_;
  }
  switch (PQresultStatus(result.get())) {
    case PGRES_COPY_IN:
      PQputCopyEnd(raw_, "COPY FROM STDIN needs a stream of its own");
      Flush();
      break;
    case PGRES_COPY_OUT:
      copying_out_ = true;
      break;
    case PGRES_COPY_BOTH:
      Lose(absl::InternalError("PostgreSQL began a replication stream"));
      return false;
    case PGRES_PIPELINE_ABORTED:
      return true;  // could not be prepared, which was told
    case PGRES_COMMAND_OK:
      if (!preparing_) break;
      listener_->OnPrepared();
      return true;
    default:
      if (EndsConnection(*result) || PQstatus(raw_) == CONNECTION_BAD) {
        Lose(absl::UnavailableError(absl::StripAsciiWhitespace(PQresultErrorMessage(result.get()))));
        return false;
      }
  }
  if (labelling_) return true;
  unanswered_ = false;
  listener_->OnResult(*result);
  return true;
}

void Backend::Lose(const absl::Status& why) {
  if (lost_) return;
  lost_ = true;
  watch_.reset();
  busy_ = false;
  if (listener_ != nullptr) listener_->OnLost(why);
}

// Not from inside the sender's call, who does not expect the end of what he is beginning. Nor by the watch:
// libpq may have closed the socket, which then tells nothing any more.
void Backend::LoseSoon(const char* why) {
  watch_.reset();  // at once: another connection may be given the closed socket's number
  loop_.Post([this, why = absl::UnavailableError(absl::StripAsciiWhitespace(why)),
              alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) Lose(why);
  });
}

void Backend::UpdateWatch() {
  if (watch_ != nullptr) watch_->Want(!paused_, unsent_);
}

std::string Backend::ErrorText() const {
  return std::string(absl::StripAsciiWhitespace(PQerrorMessage(raw_)));
}

}  // namespace pglessor::postgres
