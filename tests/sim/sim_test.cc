// The whole core in one thread, from one seed after the other. script/sim runs more of them.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/numbers.h"
#include "gtest/gtest.h"

#include "tests/sim/world.h"

namespace pglessor::core::sim {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  uint64_t number = otherwise;
  if (text != nullptr && !absl::SimpleAtoi(text, &number)) ADD_FAILURE() << name << ": no number: " << text;
  return number;
}

// The run that goes on now, for OnAbort.
const History* running = nullptr;

// A broken PGLESSOR_CHECK ends the process: not before it is said which run that was.
void OnAbort(int) {
  if (running != nullptr) std::fputs(running->Report().c_str(), stderr);
  std::signal(SIGABRT, SIG_DFL);
}

uint64_t RunSeed(uint64_t seed) {
  World world(seed);
  if (FromEnvironment("PGLESSOR_SIM_TRACE", 0) != 0) world.history().KeepAll();
  running = &world.history();
  world.Run();
  running = nullptr;
  if (world.history().violated()) ADD_FAILURE() << world.history().Report();
  return world.history().fingerprint();
}

TEST(Simulation, HoldsItsInvariantsFromEverySeed) {
  std::signal(SIGABRT, OnAbort);
  const uint64_t first = FromEnvironment("PGLESSOR_SIM_SEED", 1);
  const uint64_t seeds = FromEnvironment("PGLESSOR_SIM_SEEDS", 200);
  for (uint64_t seed = first; seed < first + seeds && !HasFailure(); ++seed) RunSeed(seed);
}

// Else a seed repeats nothing.
TEST(Simulation, TheSameSeedGivesTheSameRun) {
  for (uint64_t seed = 1; seed <= 10 && !HasFailure(); ++seed)
    EXPECT_EQ(RunSeed(seed), RunSeed(seed)) << "seed " << seed;
}

}  // namespace
}  // namespace pglessor::core::sim
