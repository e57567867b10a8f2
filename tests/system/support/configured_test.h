// What a test starts from whose pglessor has a configuration file.
#pragma once

#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

#include "tests/system/support/system_test.h"
#include "tests/system/support/temporary_folder.h"

namespace pglessor::system {

class ConfiguredTest : public SystemTest {
 protected:
  std::string path() const { return (folder_.path() / "pglessor.toml").string(); }
  void Write(const std::string& text) const { std::ofstream(path(), std::ios::trunc) << text; }

  // A pool in the file, on the test's PostgreSQL; `more` are further keys.
  std::string Pool(const std::string& name, const std::string& sizes, const std::string& more = "") {
    return Pool(name, dsn(), control_dsn(), absl::StrCat(sizes, "\n", more));
  }
  static std::string Pool(const std::string& name, const std::string& dsn, const std::string& control_dsn,
                          const std::string& keys) {
    return absl::StrCat("[pools.", name, "]\ndsn = \"", dsn, "\"\ncontrol_dsn = \"", control_dsn, "\"\n",
                        keys, "\n");
  }
  static std::string Sizes(int min, int max) {
    return absl::StrCat("min_connections = ", min, "\nmax_connections = ", max);
  }

  void ServeFile(const std::string& text) {
    Write(text);
    server_ = ServerProcess::Start({"--config=" + path(), "--drain-timeout=0s"});
    ASSERT_NE(server().address(), "");
    client_ = std::make_unique<Client>(server().address());
  }

  v1::PoolStats StatsOf(const std::string& pool) {
    v1::StatsRequest request;
    request.set_pool(pool);
    const auto answer = client().StatsOf(request);
    EXPECT_EQ(answer.response.pools_size(), 1) << answer;
    return answer.response.pools_size() == 1 ? answer.response.pools(0) : v1::PoolStats();
  }
  Held AcquireFrom(const std::string& pool) {
    v1::AcquireRequest request;
    request.set_pool(pool);
    return Acquire(request);
  }

  const TemporaryFolder folder_;
};

}  // namespace pglessor::system
