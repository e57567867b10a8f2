#include "server/postgres/control_connection.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "server/postgres/error_status.h"

namespace pglessor::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr core::Duration kOpenTimeout = seconds(5);
constexpr core::Duration kFirstReopenPause = milliseconds(20);
constexpr core::Duration kLastReopenPause = seconds(1);
constexpr core::Duration kSignalTimeout = milliseconds(500);
// A control connection that does not answer for so long is dropped and opened anew.
constexpr core::Duration kAnswerTimeout = seconds(5);
constexpr core::Duration kCheckPeriod = milliseconds(100);
constexpr core::Duration kFirstGonePause = milliseconds(1);
constexpr core::Duration kLastGonePause = milliseconds(100);
constexpr int kFencingShift = 20;  // tokens of one block: 2^20 to a transaction id

// A transaction id that survives a crash: the message makes the id durable in the log before it is
// used, and needs neither a table nor a right. Without it the same id was seen to come again after
// a crash.
constexpr char kTakeBlock[] =
    "BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_catalog.pg_current_xact_id() FROM "
    "pg_catalog.pg_logical_emit_message(true, 'pglessor', ''); COMMIT";

std::string NameOf(const BackendIdentity& backend) {
  return absl::StrCat(backend.pid, "/", backend.start_microseconds);
}

// PostgreSQL shows one role nothing of another's backend but that there is one of that pid, unless it has
// pg_monitor. It may be ours.
constexpr char kHidden[] = "hidden";
std::string HiddenNameOf(const BackendIdentity& backend) { return absl::StrCat(backend.pid, "/", kHidden); }

// pg_stat_activity's rows come from this function; its joins with roles and databases cost twice as much
// again, and a pool that is replaced asks many times.
constexpr char kActivity[] = "pg_catalog.pg_stat_get_activity";

constexpr char kStart[] = "(extract(epoch FROM backend_start) * 1000000)::int8";

}  // namespace

ControlConnection::ControlConnection(executor::EventLoop& loop, Address address)
    : loop_(loop),
      address_(std::move(address)),
      gone_pause_(kFirstGonePause),
      reopen_pause_(kFirstReopenPause) {}

ControlConnection::~ControlConnection() = default;

void ControlConnection::Start() {
  loop_.Post([this] {
    Open();
    CheckDeadlines();
  });
}

void ControlConnection::Stop() {
  loop_.Post([this] {
    stopped_ = true;
    backend_.reset();
    running_.reset();
    waiting_.clear();
    awaited_.clear();
  });
}

void ControlConnection::SetDsn(std::string dsn) {
  loop_.Post([this, dsn = std::move(dsn)]() mutable {
    if (dsn == address_.dsn) return;
    address_.dsn = std::move(dsn);
    Drop(absl::UnavailableError("the control connection is opened elsewhere"));
  });
}

void ControlConnection::Reopen() { Drop(absl::UnavailableError("the control connection is opened anew")); }

void ControlConnection::Open() {
  if (stopped_) return;
  OpenBackend(loop_, address_, kOpenTimeout, [this, dsn = address_.dsn](auto opened) {
    if (stopped_) return;
    // It was moved meanwhile.
    if (opened.ok() && dsn != address_.dsn) {
      Open();
      return;
    }
    if (!opened.ok()) {
      loop_.RunAfter(reopen_pause_, [this] { Open(); });
      reopen_pause_ = std::min<core::Duration>(reopen_pause_ * 2, kLastReopenPause);
      return;
    }
    reopen_pause_ = kFirstReopenPause;
    backend_ = *std::move(opened);
    backend_->SetListener(this);
    AskForBlocks();
    Next();
  });
}

void ControlConnection::Cancel(const BackendIdentity& backend, Signalled signalled) {
  Ask({absl::StrCat("SELECT CASE WHEN backend_start IS NULL THEN '", kHidden, "' WHEN ", kStart, " = ",
                    backend.start_microseconds, " THEN pg_catalog.pg_cancel_backend(pid)::text END FROM ",
                    kActivity, "(", backend.pid, ")"),
       [signalled = std::move(signalled)](const absl::StatusOr<std::string>& answer) mutable {
         const bool hidden = answer.ok() && *answer == kHidden;
         signalled(hidden ? absl::PermissionDeniedError(
                                "the control connection's role needs pg_monitor and pg_signal_backend")
                          : answer.status());
       },
       core::SaturatingAdd(loop_.Now(), kSignalTimeout)});
}

void ControlConnection::AwaitGone(const BackendIdentity& backend, Means means,
                                  absl::AnyInvocable<void()> gone) {
  if (stopped_) return;
  awaited_.push_back({backend, means, std::move(gone)});
  gone_pause_ = kFirstGonePause;
  // A backend that was told goodbye takes a moment to go; one that is to be terminated is not given any.
  // Others that come in this turn of the loop are asked about with it.
  AskWhoIsThereIn(means == Means::kTerminate ? core::Duration::zero() : kFirstGonePause);
}

void ControlConnection::AskWhoIsThereIn(core::Duration pause) {
  if (who_is_there_asked_) return;  // its answer asks again
  if (gone_timer_) {
    if (gone_timer_->first <= loop_.Now() + pause) return;
    loop_.Cancel(*gone_timer_);
  }
  gone_timer_ = loop_.RunAfter(pause, [this] { AskWhoIsThere(); });
}

void ControlConnection::AskWhoIsThere() {
  gone_timer_.reset();
  who_is_there_asked_ = true;
  // The answer names those that are there, as "pid/start" between commas. A termination that is lost with the
  // control connection is asked for again with the next question.
  std::string all;
  std::string to_terminate = "NULL";
  for (const Awaited& awaited : awaited_) {
    absl::StrAppend(&all, all.empty() ? "" : ", ", awaited.backend.pid);
    if (awaited.means == Means::kTerminate) {
      absl::StrAppend(&to_terminate, ", '", NameOf(awaited.backend), "'");
    }
  }
  Ask({absl::StrCat(
           "SELECT ',' || pg_catalog.string_agg(name, ',') || ',' FROM (SELECT name, CASE WHEN name IN (",
           to_terminate,
           ") THEN pg_catalog.pg_terminate_backend(pid) END FROM (SELECT pid, pid || '/' "
           "|| coalesce(",
           kStart, "::text, '", kHidden, "') AS name FROM ", kActivity, "(NULL) WHERE pid IN (", all,
           ")) AS named OFFSET 0) AS asked"),
       [this, asked_about = awaited_.size()](const absl::StatusOr<std::string>& answer) {
         OnWhoIsThere(asked_about, answer);
       }});
}

void ControlConnection::OnWhoIsThere(size_t asked_about, const absl::StatusOr<std::string>& answer) {
  std::vector<Awaited> gone;
  if (answer.ok()) {
    std::vector<Awaited> left;
    for (size_t i = 0; i < awaited_.size(); ++i) {
      const bool there =
          i >= asked_about ||
          absl::StrContains(*answer, absl::StrCat(",", NameOf(awaited_[i].backend), ",")) ||
          absl::StrContains(*answer, absl::StrCat(",", HiddenNameOf(awaited_[i].backend), ","));
      (there ? left : gone).push_back(std::move(awaited_[i]));
    }
    awaited_ = std::move(left);
  }
  who_is_there_asked_ = false;
  // Where one has gone, others are about to.
  if (!gone.empty()) gone_pause_ = kFirstGonePause;
  if (!awaited_.empty()) {
    AskWhoIsThereIn(gone_pause_);
    gone_pause_ = std::min<core::Duration>(gone_pause_ * 2, kLastGonePause);
  }
  for (Awaited& backend : gone) backend.gone();
}

void ControlConnection::Subscribe(Taken taken) {
  loop_.Post([this, taken = std::move(taken)]() mutable {
    AskForBlock(subscribers_.emplace_back(std::make_shared<Subscriber>(std::move(taken))));
  });
}

void ControlConnection::TakeBlock() {
  loop_.Post([this] { AskForBlocks(); });
}

void ControlConnection::AskForBlocks() {
  for (const auto& subscriber : subscribers_) AskForBlock(subscriber);
}

void ControlConnection::AskForBlock(const std::shared_ptr<Subscriber>& subscriber) {
  if (subscriber->asked) return;
  subscriber->asked = true;
  Ask({kTakeBlock, [this, subscriber](const absl::StatusOr<std::string>& answer) {
         subscriber->asked = false;
         uint64_t transaction = 0;
         if (answer.ok() && absl::SimpleAtoi(*answer, &transaction)) {
           if (subscriber->taken({transaction << kFencingShift, uint64_t{1} << kFencingShift})) return;
           std::erase(subscribers_, subscriber);
         } else if (backend_ != nullptr) {
           // A standby, or a database that takes no writes just now. Where the connection was lost,
           // its return asks again.
           loop_.RunAfter(kLastReopenPause, [this, subscriber] { AskForBlock(subscriber); });
         }
       }});
}

void ControlConnection::Query(std::string sql, Answered answered) {
  Ask({std::move(sql), std::move(answered)});
}

void ControlConnection::Ask(Command command) {
  if (stopped_) return;
  waiting_.push_back(std::move(command));
  Next();
}

void ControlConnection::Next() {
  if (backend_ == nullptr || running_ != nullptr || waiting_.empty()) return;
  running_ = std::make_unique<Command>(std::move(waiting_.front()));
  waiting_.pop_front();
  running_since_ = loop_.Now();
  answer_.clear();
  error_ = absl::OkStatus();
  error_ = backend_->SendSimple(running_->sql.c_str());
}

void ControlConnection::CheckDeadlines() {
  if (stopped_) return;
  const core::Time now = loop_.Now();
  std::vector<Command> late;
  for (auto command = waiting_.begin(); command != waiting_.end();) {
    if (command->deadline > now) {
      ++command;
      continue;
    }
    late.push_back(std::move(*command));
    command = waiting_.erase(command);
  }
  if (running_ != nullptr && running_->deadline <= now) {
    late.push_back({{}, std::move(running_->done)});
    // Its answer is still to be read, for nobody.
    running_->done = [](const absl::StatusOr<std::string>&) {};
    running_->deadline = core::Time::max();
  }
  for (Command& command : late) {
    command.done(absl::DeadlineExceededError("the control connection did not answer in time"));
  }
  if (running_ != nullptr && now - running_since_ > kAnswerTimeout) {
    Drop(absl::UnavailableError("the control connection does not answer"));
  }
  loop_.RunAfter(kCheckPeriod, [this] { CheckDeadlines(); });
}

void ControlConnection::OnResult(const PGresult& result) {
  switch (PQresultStatus(&result)) {
    case PGRES_TUPLES_OK:
      if (PQntuples(&result) > 0) answer_ = PQgetvalue(&result, PQntuples(&result) - 1, 0);
      break;
    case PGRES_FATAL_ERROR:
      error_ = SqlError(result, /*timed_out=*/false);
      break;
    default:
      break;
  }
}

void ControlConnection::OnReady() {
  if (error_.ok() || backend_->Idle()) {
    const std::unique_ptr<Command> done = std::move(running_);
    if (error_.ok()) {
      done->done(answer_);
    } else {
      done->done(error_);
    }
    Next();
    return;
  }
  // A block that failed half way has left its transaction open: that command fails, the next begins
  // clean.
  answer_.clear();
  running_->done(error_);
  running_->done = [](const absl::StatusOr<std::string>&) {};
  error_ = absl::OkStatus();
  error_ = backend_->SendSimple("ROLLBACK");
}

void ControlConnection::OnLost(const absl::Status& why) {
  loop_.Post([this, why] { Drop(why); });
}

void ControlConnection::Drop(const absl::Status& why) {
  if (backend_ == nullptr) return;
  backend_.reset();
  if (const std::unique_ptr<Command> lost = std::move(running_)) lost->done(why);
  Open();
}

}  // namespace pglessor::postgres
