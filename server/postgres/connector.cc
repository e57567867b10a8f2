#include "server/postgres/connector.h"

#include <memory>
#include <utility>

#include "server/postgres/session.h"

namespace pglessor::postgres {

Connector::Connector(executor::EventLoop& loop, ControlConnection& control, Address address,
                     const TargetWatch* target)
    : loop_(loop), control_(control), target_(target), address_(std::move(address)) {}

void Connector::SetDsn(std::string dsn) {
  loop_.Post([this, dsn = std::move(dsn)]() mutable { address_.dsn = std::move(dsn); });
}

void Connector::SetRolePasswords(RolePasswords passwords) {
  loop_.Post([this, passwords = std::move(passwords)]() mutable { role_passwords_ = std::move(passwords); });
}

void Connector::SetValidation(Validation validation) {
  loop_.Post([this, validation = std::move(validation)]() mutable { validation_ = std::move(validation); });
}

void Connector::Open(const OpenRequest& request, Opened opened, core::Connection::Callback lost) {
  loop_.Post([this, request, opened = std::move(opened), lost = std::move(lost)]() mutable {
    if (target_ != nullptr && !target_->Check().ok()) {
      opened(target_->Check());
      return;
    }
    Address address = address_;
    address.role = request.role;
    const auto password = role_passwords_.find(request.role);
    if (password != role_passwords_.end()) address.password = password->second;
    OpenBackend(loop_, address, request.timeout,
                [this, opened = std::move(opened),
                 lost = std::move(lost)](absl::StatusOr<std::unique_ptr<Backend>> backend) mutable {
                  if (!backend.ok()) {
                    opened(backend.status());
                  } else if (!validation_.query.empty()) {
                    Validate(*std::move(backend), std::move(opened), std::move(lost));
                  } else {
                    opened(std::make_shared<Session>(loop_, control_, *std::move(backend), std::move(lost)));
                  }
                });
  });
}

void Connector::Validate(std::unique_ptr<Backend> backend, Opened opened, core::Connection::Callback lost) {
  // Until it is told of, nobody is told of its loss. The probe's answer and the loss come on the loop.
  auto told = std::make_shared<bool>(false);
  auto session = std::make_shared<Session>(
      loop_, control_, std::move(backend),
      [told, lost = std::move(lost)]() mutable {
        if (*told) lost();
      },
      validation_);
  session->Probe([told, session, opened = std::move(opened)](const absl::Status& fit) mutable {
    if (fit.ok()) {
      *told = true;
      opened(std::move(session));
      return;
    }
    // Its slot is free only when its backend has gone, or is known to be stuck; that is told once.
    auto failed = std::make_shared<Opened>(std::move(opened));
    const auto tell = [failed, fit] {
      if (*failed != nullptr) std::exchange(*failed, nullptr)(fit);
    };
    session->Close({.gone = tell, .stuck = tell});
  });
}

}  // namespace pglessor::postgres
