#include "pglessor/client.h"

#include <utility>

#include "client/internal/access.h"
#include "client/internal/answer.h"
#include "client/internal/background.h"
#include "client/internal/runtime.h"
#include "client/internal/session_stream.h"

namespace pglessor {

absl::StatusOr<Client> Client::Create(ClientOptions options) {
  if (options.address.empty()) {
    return absl::InvalidArgumentError("ClientOptions::address is empty; expected HOST:PORT or unix:PATH");
  }
  absl::StatusOr<internal::Access> access = internal::AccessOf(options);
  if (!access.ok()) return access.status();
  absl::StatusOr<std::shared_ptr<internal::Background>> background = internal::Background::Create();
  if (!background.ok()) return background.status();
  return Client(
      std::make_unique<internal::Runtime>(std::move(options), *std::move(access), *std::move(background)));
}

Client::Client(std::unique_ptr<internal::Runtime> runtime) : runtime_(std::move(runtime)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

absl::StatusOr<Lease> Client::Acquire(const AcquireOptions& options) {
  if (runtime_ == nullptr) return absl::FailedPreconditionError("this Client was moved from");
  absl::StatusOr<std::shared_ptr<internal::HeldLease>> held = runtime_->Acquire(options);
  if (!held.ok()) return held.status();
  return Lease(*std::move(held));
}

absl::StatusOr<Result> Client::Once(const Statement& statement, const AcquireOptions& options) {
  if (runtime_ == nullptr) return absl::FailedPreconditionError("this Client was moved from");
  return internal::Collected(
      [&](internal::EachRow each_row) { return runtime_->Once(statement, options, each_row); });
}

absl::StatusOr<Session> Client::NewSession() {
  if (runtime_ == nullptr) return absl::FailedPreconditionError("this Client was moved from");
  return Session(runtime_->NewSession());
}

}  // namespace pglessor
