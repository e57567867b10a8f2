// A command line for a test, parsed in an environment of its own.
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>
#include <variant>
#include <vector>

#include "gtest/gtest.h"

#include "server/config.h"

namespace pglessor {

class CommandLineTest : public testing::Test {
 protected:
  // NOLINTBEGIN(concurrency-mt-unsafe): there is one thread
  CommandLineTest() {
    unsetenv("PGLESSOR_LISTEN");
    unsetenv("PGLESSOR_DSN");
    unsetenv("PGLESSOR_CONTROL_DSN");
  }
  ~CommandLineTest() override {
    unsetenv("PGLESSOR_LISTEN");
    unsetenv("PGLESSOR_DSN");
    unsetenv("PGLESSOR_CONTROL_DSN");
  }
  static void SetEnvironment(const char* name, const char* value) { setenv(name, value, 1); }
  // NOLINTEND(concurrency-mt-unsafe)

  // A file of this test's own, since others run at the same time; its path.
  static std::string Write(const std::string& text) {
    const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
    std::string path = testing::TempDir() + test.test_suite_name() + "." + test.name() + ".toml";
    std::ofstream(path, std::ios::trunc) << text;
    return path;
  }

  static CommandLine Parse(const std::vector<std::string>& arguments) {
    std::vector<const char*> argv = {"pglessor"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    return ParseCommandLine(static_cast<int>(argv.size()), argv.data());
  }

  static Config MustParse(const std::vector<std::string>& arguments) {
    CommandLine parsed = Parse(arguments);
    if (const auto* faults = std::get_if<Faults>(&parsed)) {
      for (const std::string& line : faults->lines) ADD_FAILURE() << line;
    }
    const auto* config = std::get_if<Config>(&parsed);
    return config == nullptr ? Config() : *config;
  }

  // Its lines; none if it has no fault.
  static std::vector<std::string> FaultsOf(const std::vector<std::string>& arguments) {
    CommandLine parsed = Parse(arguments);
    const auto* faults = std::get_if<Faults>(&parsed);
    return faults == nullptr ? std::vector<std::string>() : faults->lines;
  }
};

}  // namespace pglessor
