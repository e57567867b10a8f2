// A message that stands in one block of memory with all its parts, which then cost no allocation each: for
// answers that are made for every call.
#pragma once

#include <google/protobuf/arena.h>

#include <array>
#include <cstddef>

namespace pglessor::rpc {

template <typename Message>
class BlockMessage {
 public:
  BlockMessage() = default;
  BlockMessage(const BlockMessage&) = delete;
  BlockMessage& operator=(const BlockMessage&) = delete;

  Message& operator*() { return message_; }
  Message* operator->() { return &message_; }

 private:
  static constexpr size_t kBlock = 2048;  // of one with a Lease; a larger one takes further blocks

  alignas(std::max_align_t) std::array<char, kBlock> block_;
  google::protobuf::Arena arena_{block_.data(), block_.size()};
  Message& message_ = *google::protobuf::Arena::CreateMessage<Message>(&arena_);
};

}  // namespace pglessor::rpc
