// Who is known here, and by what they prove it.
//
// A secret is found by its SHA-256 in one look-up, and compared in constant time. A slow hash would protect
// only short secrets, and cost every call more than all else in it; ours have 128 random bits.
//
// Threads: any. Replace swaps everything in one step; calls under way keep who they are.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "server/core/mutex.h"
#include "server/rpc/caller.h"
#include "server/rpc/identity_options.h"

namespace pglessor::rpc {

// What a caller brought. Views are of the call's.
struct Credentials {
  std::vector<absl::string_view> authorization;  // the metadata of that name
  // The names in its client certificate; nothing if it has none.
  std::optional<std::vector<std::string>> certificate;
};

class Identities {
 public:
  explicit Identities(const std::vector<IdentityOptions>& identities);
  ~Identities();

  void Replace(const std::vector<IdentityOptions>& identities);

  // Where no identities are configured everybody is anonymous, and `credentials` is not asked. Of a secret
  // and a certificate one is enough, but each that is there must prove the same identity. Fails with:
  // UNAUTHENTICATED UNAUTHENTICATED, in the same words whatever is wrong.
  absl::StatusOr<CallerRef> Authenticate(absl::FunctionRef<Credentials()> credentials) const;

 private:
  class Known;

  mutable core::Mutex mutex_;
  // Shared with the look-ups under way.
  std::shared_ptr<const Known> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pglessor::rpc
