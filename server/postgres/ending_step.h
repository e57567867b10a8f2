// One step of ending a process: a signal, and how long it may take to work before the next, harsher
// one.
#pragma once

#include <chrono>

namespace pglessor::postgres {

struct EndingStep {
  int signal;
  std::chrono::milliseconds patience;
};

}  // namespace pglessor::postgres
