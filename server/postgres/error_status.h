// What PostgreSQL says went wrong, as a Status: the one table from SQLSTATE.
//
// SQLSTATEs: PostgreSQL documentation, appendix A.
#pragma once

#include <libpq-fe.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "server/postgres/statement_cache.h"

namespace pglessor::postgres {

inline constexpr char kQueryCanceled[] = "57014";

// By class, with the few codes that differ from their class. `timed_out`: the statement's own
// timeout, and not its caller, had it cancelled.
absl::StatusCode CodeOfSqlState(absl::string_view sqlstate, bool timed_out);

// A statement's error: reason SQL_ERROR, metadata sqlstate, severity, and position, constraint and
// hint where PostgreSQL gives them.
absl::Status SqlError(const PGresult& error, bool timed_out);

// Severity FATAL or PANIC, whatever the SQLSTATE, and what is libpq's. An ERROR with a SQLSTATE of class 08
// or 57P0x (dblink, RAISE) is a statement's error like another.
bool EndsConnection(const PGresult& error);

// An error or notice without SQLSTATE, which PostgreSQL always has: libpq made it, mostly since what came was
// not its protocol, or it is none of PostgreSQL's. What comes next on that connection may be anything.
bool IsOfLibpq(const PGresult& message);

// What the error of a statement that went by a name says of that. What PostgreSQL says before it runs
// anything is known by the place in its source that says it, and by having no context: a function of the
// statement's may fail with the same SQLSTATE.
NameFault NameFaultOf(const PGresult& error);

// Why a connection could not be opened, from libpq's message at verbosity VERBOSE, which has the
// SQLSTATE. 28xxx and 3D000 → FAILED_PRECONDITION DATABASE_AUTH_FAILED; 53xxx → RESOURCE_EXHAUSTED;
// else UNAVAILABLE.
absl::Status OpenError(absl::string_view message);

}  // namespace pglessor::postgres
