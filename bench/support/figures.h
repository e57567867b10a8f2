// How the benchmarks in the process tell what they measured: one line a figure, tab-separated,
//
//   load <TAB> who <TAB> value
//
// which script/bench gathers over its rounds, ours and the peers', and makes a table of.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

namespace pglessor::bench {

using Clock = std::chrono::steady_clock;

inline double NanosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

inline void PrintFigure(const std::string& load, const std::string& who, double value) {
  std::printf("%s\t%s\t%.3f\n", load.c_str(), who.c_str(), value);
  std::fflush(stdout);
}

// Requires: there are some.
inline double Percentile(std::vector<double>& figures, double percent) {
  const auto rank = static_cast<size_t>(static_cast<double>(figures.size() - 1) * percent / 100);
  const auto place = figures.begin() + static_cast<ptrdiff_t>(rank);
  std::nth_element(figures.begin(), place, figures.end());
  return *place;
}

}  // namespace pglessor::bench
