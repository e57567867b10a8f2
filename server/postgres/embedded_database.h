// What an embedded PostgreSQL holds for us: the role `app`, which the leased connections log in as,
// and its database. The names are the contract's.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace pglessor::postgres {

inline constexpr char kEmbeddedRole[] = "app";
inline constexpr char kEmbeddedDatabase[] = "app";
inline constexpr char kEmbeddedSuperuser[] = "postgres";

// For libpq: the folder of the socket and whom to be there.
struct EmbeddedLogin {
  std::string socket_folder;
  std::string role;
  std::string database;
};
std::string ConnectionString(const EmbeddedLogin& login);

// Whether PostgreSQL answers there, be it only to refuse this login.
bool AcceptsConnections(const EmbeddedLogin& login);

// Makes the role and the database if they are missing, as the superuser. The role is no superuser,
// owns no database, and may create in the database's schema `public`. Blocks.
absl::Status PrepareEmbeddedDatabase(const std::string& socket_folder);

}  // namespace pglessor::postgres
