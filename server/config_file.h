// The configuration file (TOML; docs/configuration.md): everything that flags cannot say.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "server/config.h"

namespace pglessor {

// What was found in a file, besides what went into the Config.
struct FileReading {
  std::string file;
  std::vector<std::string> faults;                     // "FILE:LINE: KEY: expected …, got …", all of them
  std::map<std::string, uint32_t, std::less<>> lines;  // of the top-level keys that it says

  bool Says(absl::string_view key) const;
  // "FILE:LINE: KEY", for a fault that shows only with the flags. Requires: it says the key.
  std::string Where(absl::string_view key) const;
};

// Sets in `config` what the file says. Where there are faults, what they are about is unset.
FileReading ReadConfigFile(const std::string& path, Config& config);

}  // namespace pglessor
