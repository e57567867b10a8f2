// Where a list goes on, as its caller carries it from one page to the next.
//
// Opaque, and bound to what was listed: base64url of a check sum, the key behind which the next page begins,
// and the pool of that key where the list goes by pool. The sum takes in the query and this run of this
// replica, so that a token that was made up, belongs to other filters, or comes from before a restart, when
// keys meant other things, is refused. It is no secret and grants nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "server/core/ids.h"
#include "server/core/lists.h"

namespace pglessor::rpc {

class PageTokens {
 public:
  explicit PageTokens(const core::ReplicaId& replica) : boot_(replica.boot) {}

  std::string TokenOf(const core::LeaseQuery& query, core::LeaseCounter behind) const;
  std::string TokenOf(const core::ConnectionQuery& query, const core::ConnectionPlace& behind) const;

  // What TokenOf put in; nothing for the empty token, which asks for the first page.
  // Fails with: INVALID_ARGUMENT FIELD_INVALID.
  absl::StatusOr<std::optional<core::LeaseCounter>> Read(const core::LeaseQuery& query,
                                                         absl::string_view token) const;
  absl::StatusOr<std::optional<core::ConnectionPlace>> Read(const core::ConnectionQuery& query,
                                                            absl::string_view token) const;

 private:
  const uint64_t boot_;
};

}  // namespace pglessor::rpc
