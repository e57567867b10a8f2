// What a callback brought: a place for the one answer of a call.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "gtest/gtest.h"

namespace pglessor::test {

// The callback may outlive this, and come on another thread; a second answer fails the test.
template <typename T>
class Answer {
 public:
  auto Callback() {
    return [place = place_](T value) {
      if (place->count.fetch_add(1) != 0) {
        ADD_FAILURE() << "answered twice";
        return;
      }
      place->value.emplace(std::move(value));
      place->here.store(true);
    };
  }

  bool here() const { return place_->here.load(); }

  // Requires: here().
  const T& operator*() const { return place_->value.value(); }
  const T* operator->() const { return &place_->value.value(); }

 private:
  struct Place {
    std::atomic<int> count{0};
    std::atomic<bool> here{false};
    std::optional<T> value;
  };
  // Shared with the callback.
  std::shared_ptr<Place> place_ = std::make_shared<Place>();
};

}  // namespace pglessor::test
