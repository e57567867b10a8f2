// The address that leases name: how callers reach this server from where they are.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace pglessor {

// `advertise` is HOST[:PORT]; without a port it gets that of the first address over TCP among `listening`,
// of which there is one at least, and empty it is the first of them. Nothing if there is no such port.
std::optional<std::string> AdvertisedAddress(const std::string& advertise,
                                             const std::vector<std::string>& listening);

}  // namespace pglessor
