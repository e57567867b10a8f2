#include "server/postgres/owned_connection.h"

#include <pqxx/pqxx>
#include <utility>

namespace pglessor::postgres {

#if PQXX_VERSION_MAJOR >= 7

class OwnedConnection::Owner {
 public:
  explicit Owner(PGconn* raw) : connection_(pqxx::connection::seize_raw_connection(raw)) {}

 private:
  pqxx::connection connection_;
};

#else

namespace {

// Hands out the connection that there is, and never opens another: a silent reconnect under a lease
// would lose its session.
class SeizedPolicy : public pqxx::connectionpolicy {
 public:
  explicit SeizedPolicy(PGconn* raw) : pqxx::connectionpolicy(""), raw_(raw) {}

  handle do_startconnect(handle present) override {
    return present != nullptr ? present : std::exchange(raw_, nullptr);
  }
  handle do_completeconnect(handle present) override { return do_startconnect(present); }

 private:
  PGconn* raw_;
};

}  // namespace

class OwnedConnection::Owner : public pqxx::connection_base {
 public:
  explicit Owner(PGconn* raw) : pqxx::connection_base(policy_), policy_(raw) { init(); }
  ~Owner() { close(); }

 private:
  SeizedPolicy policy_;
};

#endif

OwnedConnection::OwnedConnection(PGconn* raw) : raw_(raw), owner_(std::make_unique<Owner>(raw)) {}
OwnedConnection::~OwnedConnection() = default;

}  // namespace pglessor::postgres
