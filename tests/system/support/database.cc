#include "tests/system/support/database.h"

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "tests/system/support/temporary_folder.h"

namespace pglessor::system {
namespace {

// Enough for the largest pool, and the next one while the last one's connections go.
constexpr int kMaxConnections = 100;

}  // namespace

Database& Database::Get() {
  static Database database;
  return database;
}

Database::Database() {
  auto started = postgres::EmbeddedServer::Start({.max_connections = kMaxConnections});
  if (!started.ok()) {
    std::cerr << started.status() << std::endl;
    std::abort();
  }
  server_ = *std::move(started);
  observer_ = std::make_unique<Observer>(server_->control_dsn(), server_->data_directory());
}

int Database::LogLines(const std::string& text) const {
  std::istringstream log(ReadFile(server_->log_file()));
  int lines = 0;
  for (std::string line; std::getline(log, line);) {
    if (absl::StrContains(line, text)) ++lines;
  }
  return lines;
}

void Database::MakeTable(const std::string& name, const std::string& columns) {
  observer_->Run(absl::StrCat("SET client_min_messages = warning; DROP TABLE IF EXISTS ", name,
                              "; CREATE TABLE ", name, "(", columns, "); ALTER TABLE ", name,
                              " OWNER TO app"));
}

}  // namespace pglessor::system
