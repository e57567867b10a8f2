#include "server/advertised_address.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace pglessor {

std::optional<std::string> AdvertisedAddress(const std::string& advertise,
                                             const std::vector<std::string>& listening) {
  if (advertise.empty()) return listening.front();
  const bool names_port = absl::StrContains(advertise, ':') && !absl::EndsWith(advertise, "]");
  if (names_port) return advertise;
  const auto tcp = std::find_if(listening.begin(), listening.end(), [](const std::string& address) {
    return !absl::StartsWith(address, "unix:") && absl::StrContains(address, ':');
  });
  if (tcp == listening.end()) return std::nullopt;
  return absl::StrCat(advertise, tcp->substr(tcp->rfind(':')));
}

}  // namespace pglessor
