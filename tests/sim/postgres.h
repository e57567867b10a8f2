// A PostgreSQL of fakes: it opens backends, slowly or not at all, loses them, and knows how many there are.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/core/connection.h"
#include "tests/sim/backend.h"
#include "tests/sim/stage.h"

namespace pglessor::core::sim {

class Postgres : public Connector {
 public:
  enum class Openings { kSucceed, kRefused, kHang, kTooMany, kBadCredentials };
  // An opening that succeeds takes at most so long.
  static constexpr Duration kOpening = std::chrono::milliseconds(150);

  explicit Postgres(Stage& stage) : stage_(stage) {}

  void Open(const OpenRequest& request, Opened opened, Connection::Callback lost) override;

  // --- what befalls it ---
  // `trouble`: how often, in percent, a single step goes wrong.
  void SetTrouble(uint64_t trouble) { mood_.trouble = trouble; }
  // How openings that begin now end; while they do not succeed, closings are not confirmed either.
  void SetOpenings(Openings how);
  void KillOne();
  void KillAll();
  // All trouble is over, and what is stuck goes.
  void Calm();

  // --- what it knows ---
  bool reachable() const { return openings_ == Openings::kSucceed; }
  // Backends, those on their way and those that are stuck included.
  int32_t backends() const { return opening_ + open_; }
  int32_t opening() const { return opening_; }
  int32_t stuck() const;
  // Of connections that log in as `role`: probes that are not answered yet.
  int32_t probing(const std::string& role) const;
  uint64_t opens_asked() const { return opens_asked_; }
  // Null if there never was one. Pids are never given again.
  const Backend* Find(int32_t pid) const;

 private:
  static constexpr int32_t kFirstPid = 1000;

  std::vector<Backend*> Living() const;
  void Finish(Opened opened, std::string role, Connection::Callback lost);

  Stage& stage_;
  Backend::Mood mood_;
  Openings openings_ = Openings::kSucceed;
  int32_t opening_ = 0;
  int32_t open_ = 0;
  uint64_t opens_asked_ = 0;
  // All that there ever were, by pid; shared with the pool.
  std::vector<std::shared_ptr<Backend>> backends_;
};

}  // namespace pglessor::core::sim
