// Hands out a pool's fencing tokens: public numbers that rise with every grant and never come again.
//
// They come in blocks from the database (FencingSource), so that a token costs nothing. A new block is used
// from the moment it is here; one that does not lie above all that was handed out is not used at all, and
// the source is asked for another.
// Plain state: no lock.
#pragma once

#include <cstdint>

#include "server/core/check.h"
#include "server/core/connection.h"
#include "server/core/ids.h"

namespace pglessor::core {

class FencingTokens {
 public:
  bool empty() const { return next_ == end_; }

  // Requires: not empty.
  FencingToken Next() {
    PGLESSOR_CHECK(!empty(), "a fencing token is taken only where there is one");
    return FencingToken{next_++};
  }

  // True, once until a block has come, when it is time to ask for one: before the last runs out. The first
  // comes unasked.
  bool ShouldAsk() {
    if (asked_ || (!refused_ && end_ - next_ > kLow)) return false;
    asked_ = true;
    return true;
  }

  void Add(FencingSource::Block block) {
    asked_ = false;
    refused_ = block.first < end_;
    if (refused_) return;
    next_ = block.first;
    end_ = block.first + block.count;
  }

 private:
  static constexpr uint64_t kLow = 1 << 16;  // seconds of grants at the highest rate

  uint64_t next_ = 0;
  uint64_t end_ = 0;
  bool asked_ = true;
  bool refused_ = false;  // the last block
};

}  // namespace pglessor::core
