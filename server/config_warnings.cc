#include "server/config_warnings.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace pglessor {

std::vector<std::string> WarningsOf(const Config& config, const std::string& bound) {
  std::vector<std::string> warnings;
  if (config.identities.empty()) {
    warnings.emplace_back(
        "no identities are configured: every caller is \"anonymous\" and may do everything");
  }
  const bool everywhere = absl::StartsWith(bound, "0.0.0.0:") || absl::StartsWith(bound, "[::]:");
  if (config.advertise.empty() && everywhere) {
    warnings.push_back(absl::StrCat("leases name ", bound,
                                    " as their server_address, which leads no caller here: say --advertise "
                                    "HOST:PORT, as callers reach this server"));
  }
  if (!config.gateway.empty() || !config.scram_verifiers.empty()) {
    warnings.emplace_back("the wire gateway is not built yet: --gateway and scram_verifier have no effect");
  }
  return warnings;
}

}  // namespace pglessor
