// A backend that takes its time: a FakeConnection whose every step comes later, and now and then goes wrong.
//
// It keeps the terms that the core is promised: a fence stands within kFence, a cleaning or a probe has ended
// within kPatience, and a closing by then is either confirmed or told to be stuck.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "server/core/connection.h"
#include "tests/sim/stage.h"
#include "tests/support/fake_connection.h"

namespace pglessor::core::sim {

class Backend : public Connection, public std::enable_shared_from_this<Backend> {
 public:
  static constexpr Duration kFence = std::chrono::milliseconds(50);
  static constexpr Duration kPatience = std::chrono::milliseconds(500);

  // How often, in percent, what it is asked for goes wrong.
  struct Mood {
    uint64_t trouble = 0;
    bool closings_stick = false;
  };

  // `mood` outlives it, and changes. `gone`: it has gone.
  Backend(Stage& stage, const Mood& mood, int32_t pid, std::string role, Callback lost, Callback gone);

  int32_t backend_pid() const override { return fake_->backend_pid(); }
  bool lost() const override { return fake_->lost(); }
  void Execute(StatementKey key, Statement statement, std::shared_ptr<StatementSink> sink) override;
  void Cancel(StatementKey key) override;
  void ResumeRows(StatementKey key) override { fake_->ResumeRows(key); }
  void Clean(LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced,
             absl::AnyInvocable<void(CleanReport)> cleaned) override;
  void Fence(LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced) override;
  void Probe(absl::AnyInvocable<void(CleanReport)> probed) override;
  void Cut() override { fake_->Cut(); }
  void Close(CloseCallbacks callbacks) override;

  void Die() { fake_->Die(); }
  // A stuck one goes after all.
  void LetGo() { fake_->ReleaseClosings(); }

  const std::string& role() const { return role_; }
  const test::FakeConnection& fake() const { return *fake_; }
  bool stuck() const { return stuck_ && !fake_->gone(); }
  bool probing() const { return probing_; }

 private:
  template <typename Step>
  void Later(Duration least, Duration most, Step step);
  bool GoesWrong() { return stage_.random.Percent(mood_.trouble); }

  Stage& stage_;
  const Mood& mood_;
  const std::string role_;
  Callback lost_;
  std::shared_ptr<test::FakeConnection> fake_;  // shared with its own tasks
  StatementKey running_{};
  bool probing_ = false;
  bool stuck_ = false;
};

}  // namespace pglessor::core::sim
