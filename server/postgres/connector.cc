#include "server/postgres/connector.h"

#include <memory>
#include <utility>

#include "server/postgres/session.h"

namespace pglessor::postgres {

Connector::Connector(executor::EventLoop& loop, ControlConnection& control, Address address)
    : loop_(loop), control_(control), address_(std::move(address)) {}

void Connector::SetDsn(std::string dsn) {
  loop_.Post([this, dsn = std::move(dsn)]() mutable { address_.dsn = std::move(dsn); });
}

void Connector::Open(core::Duration timeout, Opened opened, core::Connection::Callback lost) {
  loop_.Post([this, timeout, opened = std::move(opened), lost = std::move(lost)]() mutable {
    OpenBackend(loop_, address_, timeout,
                [this, opened = std::move(opened),
                 lost = std::move(lost)](absl::StatusOr<std::unique_ptr<Backend>> backend) mutable {
                  if (!backend.ok()) {
                    opened(backend.status());
                    return;
                  }
                  opened(std::make_shared<Session>(loop_, control_, *std::move(backend), std::move(lost)));
                });
  });
}

}  // namespace pglessor::postgres
