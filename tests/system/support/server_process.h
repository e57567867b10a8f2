// The program under test, as anybody would run it: flags in, a ready line and an address out, a signal to
// end it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/system/support/process.h"

namespace pglessor::system {

using Flags = std::vector<std::string>;
using Environment = std::vector<std::pair<std::string, std::string>>;

// What a run that ends by itself left.
struct FinishedRun {
  std::optional<ExitStatus> exit;  // nothing if it did not end
  std::string output;
  std::string log;
};
FinishedRun RunPglessor(const Flags& flags, const Environment& environment = {});

class ServerProcess {
 public:
  // Starts pglessor and waits for its ready line. --listen=127.0.0.1:0 unless `flags` or `environment` say
  // where to listen; no HTTP unless `flags` say where.
  static std::unique_ptr<ServerProcess> Start(Flags flags, const Environment& environment = {});
  // Shows the log if the test has failed.
  ~ServerProcess();

  // "127.0.0.1:PORT"; empty if it never became ready, which has then failed the test.
  const std::string& address() const { return address_; }
  // "off", or as above.
  const std::string& http_address() const { return http_address_; }
  const std::string& ready_line() const { return ready_line_; }
  std::string Log() const { return process_.Log(); }
  Process& process() { return process_; }

  // SIGTERM, and how it ended.
  std::optional<ExitStatus> End();
  // kill -9, and its end.
  void Kill();

 private:
  explicit ServerProcess(const Process::Command& command) : process_(command) {}

  Process process_;
  std::string ready_line_;
  std::string address_;
  std::string http_address_;
};

}  // namespace pglessor::system
