#include "tests/system/support/memory.h"

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace pglessor::system {

int64_t ResidentKilobytes(pid_t process) {
  std::ifstream status(absl::StrCat("/proc/", process, "/status"));
  for (std::string word; status >> word;) {
    int64_t kilobytes = 0;
    if (word == "VmRSS:" && status >> kilobytes) return kilobytes;
  }
  ADD_FAILURE() << "there is no process " << process;
  return -1;
}

}  // namespace pglessor::system
