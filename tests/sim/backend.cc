#include "tests/sim/backend.h"

namespace pglessor::core::sim {

using std::chrono::milliseconds;

Backend::Backend(Stage& stage, const Mood& mood, int32_t pid, std::string role, Callback lost, Callback gone)
    : stage_(stage), mood_(mood), role_(std::move(role)), lost_(std::move(lost)) {
  // The news of a death takes a while, and finds nobody once the connection is being closed.
  auto news = [this] {
    Later(Duration::zero(), milliseconds(30), [this] {
      if (!fake_->closing()) lost_();
    });
  };
  fake_ = std::make_shared<test::FakeConnection>(stage.executor, pid, std::move(news), std::move(gone));
  fake_->HoldStatements();
  fake_->HoldCleanings();
  fake_->HoldProbes();
  fake_->HoldClosings();
}

// Nothing that was asked of it is forgotten, whoever else has dropped it.
template <typename Step>
void Backend::Later(Duration least, Duration most, Step step) {
  stage_.Later(stage_.random.Between(least, most),
               [self = shared_from_this(), step = std::move(step)]() mutable { step(); });
}

void Backend::Execute(StatementKey key, Statement statement, std::shared_ptr<StatementSink> sink) {
  const Duration on_its_way = stage_.random.Between(Duration::zero(), milliseconds(5));
  // One statement in ten is long; ttls and cancels are for those.
  const Duration takes = stage_.random.Percent(10)
                             ? stage_.random.Between(milliseconds(100), milliseconds(2000))
                             : stage_.random.Between(Duration(1), milliseconds(40));
  Later(on_its_way, on_its_way,
        [this, key, statement = std::move(statement), sink = std::move(sink)]() mutable {
          if (key.lease >= running_.lease) running_ = key;
          fake_->Execute(key, std::move(statement), std::move(sink));
        });
  Later(on_its_way + takes, on_its_way + takes, [this, key] {
    if (running_ == key) fake_->FinishStatement();
  });
}

void Backend::Cancel(StatementKey key) {
  if (GoesWrong()) return;  // the statement swallows it
  Later(Duration::zero(), milliseconds(20), [this, key] { fake_->Cancel(key); });
}

void Backend::Clean(LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced,
                    absl::AnyInvocable<void(CleanReport)> cleaned) {
  const bool unclean = GoesWrong();
  Later(Duration::zero(), kFence,
        [this, lease, unclean, fenced = std::move(fenced), cleaned = std::move(cleaned)]() mutable {
          fake_->Clean(lease, std::move(fenced), std::move(cleaned));
          if (unclean) fake_->RefuseToComeClean();
          Later(Duration(1), unclean ? kPatience : milliseconds(30), [this] {
            fake_->ReleaseCleanings();
            fake_->HoldCleanings();
          });
        });
}

void Backend::Fence(LeaseCounter lease, absl::AnyInvocable<void(FenceReport)> fenced) {
  Later(Duration::zero(), kFence,
        [this, lease, fenced = std::move(fenced)]() mutable { fake_->Fence(lease, std::move(fenced)); });
}

void Backend::Probe(absl::AnyInvocable<void(CleanReport)> probed) {
  probing_ = true;
  fake_->Probe([this, probed = std::move(probed)](CleanReport report) mutable {
    probing_ = false;
    probed(std::move(report));
  });
  const bool silent = GoesWrong();
  if (silent) fake_->FailProbes();
  Later(Duration(1), silent ? kPatience : milliseconds(30), [this] {
    fake_->ReleaseProbes();
    fake_->HoldProbes();
  });
}

void Backend::Close(CloseCallbacks callbacks) {
  callbacks.stuck = [this, stuck = std::move(callbacks.stuck)]() mutable {
    stuck_ = true;
    stuck();
  };
  fake_->Close(std::move(callbacks));
  if (!mood_.closings_stick && !GoesWrong()) {
    Later(Duration(1), milliseconds(60), [this] { fake_->ReleaseClosings(); });
    return;
  }
  Later(kPatience, kPatience, [this] {
    fake_->ReportStuck();
    // Some go by themselves after all, the others when all trouble is over.
    const bool calm = mood_.trouble == 0 && !mood_.closings_stick;
    if (calm || stage_.random.Percent(70)) Later(milliseconds(100), milliseconds(3000), [this] { LetGo(); });
  });
}

}  // namespace pglessor::core::sim
