// Opens the connections of one pool.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "server/core/connection.h"
#include "server/executor/event_loop.h"
#include "server/postgres/control_connection.h"
#include "server/postgres/opening.h"
#include "server/postgres/target_watch.h"
#include "server/postgres/validation.h"

namespace pglessor::postgres {

// Threads: any. The loop and the control connection must outlive it and what it opened.
class Connector : public core::Connector {
 public:
  // By role, the passwords of those that connections may log in as beside the DSN's own.
  using RolePasswords = std::map<std::string, std::string>;

  // With a `target`, nothing is opened while that is not right; it must outlive this.
  Connector(executor::EventLoop& loop, ControlConnection& control, Address address,
            const TargetWatch* target = nullptr);

  // Each for the openings that begin after it.
  void SetDsn(std::string dsn);
  void SetRolePasswords(RolePasswords passwords);
  void SetValidation(Validation validation);

  void Open(const OpenRequest& request, Opened opened, core::Connection::Callback lost) override;

 private:
  void Validate(std::unique_ptr<Backend> backend, Opened opened, core::Connection::Callback lost);

  executor::EventLoop& loop_;
  ControlConnection& control_;
  const TargetWatch* const target_;
  // The loop's own.
  Address address_;
  Validation validation_;
  RolePasswords role_passwords_;
};

}  // namespace pglessor::postgres
