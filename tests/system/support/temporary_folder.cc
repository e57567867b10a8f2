#include "tests/system/support/temporary_folder.h"

#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

namespace pglessor::system {

TemporaryFolder::TemporaryFolder() {
  std::string path = "/tmp/pglessor-system-XXXXXX";
  if (mkdtemp(path.data()) == nullptr || chmod(path.c_str(), 0711) != 0) std::abort();
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;  // a leftover in /tmp is no test's failure
  std::filesystem::remove_all(path_, ignored);
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace pglessor::system
