// A folder that goes when its test does. Its path is short, since sockets allow no other, and PostgreSQL's
// user can get through.
#pragma once

#include <filesystem>
#include <string>

namespace pglessor::system {

class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string ReadFile(const std::filesystem::path& path);

}  // namespace pglessor::system
