// One libpq connection, opened by us without blocking, then owned by libpqxx.
//
// libpqxx opens and runs only by blocking, so the socket is opened and driven through libpq itself;
// its ownership and its end are libpqxx's. The one place that knows libpqxx 6 from 7.
#pragma once

#include <libpq-fe.h>

#include <memory>

namespace pglessor::postgres {

class OwnedConnection {
 public:
  // Takes over `raw`, which must be open.
  explicit OwnedConnection(PGconn* raw);
  ~OwnedConnection();

  PGconn* raw() const { return raw_; }

 private:
  class Owner;

  PGconn* const raw_;
  const std::unique_ptr<Owner> owner_;
};

}  // namespace pglessor::postgres
