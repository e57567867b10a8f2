// Opens the connections of one pool.
#pragma once

#include <string>

#include "server/core/connection.h"
#include "server/executor/event_loop.h"
#include "server/postgres/control_connection.h"
#include "server/postgres/opening.h"

namespace pglessor::postgres {

// Threads: any. The loop and the control connection must outlive it and what it opened.
class Connector : public core::Connector {
 public:
  Connector(executor::EventLoop& loop, ControlConnection& control, Address address);

  // For the openings that begin after it.
  void SetDsn(std::string dsn);

  void Open(core::Duration timeout, Opened opened, core::Connection::Callback lost) override;

 private:
  executor::EventLoop& loop_;
  ControlConnection& control_;
  Address address_;  // the loop's own
};

}  // namespace pglessor::postgres
