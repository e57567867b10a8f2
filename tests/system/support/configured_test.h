// What a test starts from whose pglessor has a configuration file.
#pragma once

#include <csignal>
#include <cstddef>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

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

  void ServeFile(const std::string& text, const Flags& flags = {"--drain-timeout=0s"}) {
    Write(text);
    Flags all = flags;
    all.push_back("--config=" + path());
    server_ = ServerProcess::Start(all);
    ASSERT_NE(server().address(), "");
    client_ = std::make_unique<Client>(server().address());
  }

  // The file is now this, and has been read; `says` is what the log then says.
  void Reload(const std::string& text, const std::string& says = "the configuration was read again") {
    Write(text);
    const size_t before = LogLines(says);
    server().process().Signal(SIGHUP);
    ASSERT_TRUE(Eventually([&] { return LogLines(says) > before; }));
  }
  // Lines of the server's log that contain `text`.
  size_t LogLines(const std::string& text) {
    size_t lines = 0;
    for (const absl::string_view line : absl::StrSplit(server().Log(), '\n')) {
      lines += absl::StrContains(line, text) ? 1 : 0;
    }
    return lines;
  }

  std::vector<std::string> ConnectionsOf(const std::string& pool) {
    std::vector<std::string> ids;
    const v1::PoolStats stats = StatsOf(pool);
    for (const auto& connection : stats.connections()) ids.push_back(connection.id());
    return ids;
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
