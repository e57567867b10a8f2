// A configuration file for a test, in a folder that goes with it.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "server/config_file.h"

namespace pglessor {

class ConfigTextTest : public testing::Test {
 protected:
  ConfigTextTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pglessor-config-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~ConfigTextTest() override {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
  }

  // Its path.
  std::string Write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = folder_ / name;
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }

  Config MustRead(const std::string& text) const {
    Config config;
    for (const std::string& fault : ReadConfigFile(Write("p.toml", text), config).faults) {
      ADD_FAILURE() << fault;
    }
    return config;
  }
  // The one pool of a file with this behind its [pools.p], and a DSN.
  PoolConfig MustReadPool(const std::string& keys) const {
    const Config config = MustRead("[pools.p]\ndsn = 'host=db'\n" + keys);
    return config.pools.size() == 1 ? config.pools[0] : PoolConfig();
  }

  // Without the folder.
  std::vector<std::string> FaultsOf(const std::string& text) const {
    Config config;
    std::vector<std::string> faults = ReadConfigFile(Write("p.toml", text), config).faults;
    const std::string prefix = folder_.string() + "/";
    for (std::string& fault : faults) {
      if (fault.rfind(prefix, 0) == 0) fault.erase(0, prefix.size());
    }
    return faults;
  }

  std::filesystem::path folder_;
};

}  // namespace pglessor
