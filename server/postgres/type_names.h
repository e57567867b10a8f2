// The names of PostgreSQL's built-in types by OID, which never change (pg_type.dat).
#pragma once

#include <cstdint>

namespace pglessor::postgres {

// As format_type() spells it without modifiers ("integer" is "int4" here: the catalog's own name).
// Empty for a type that is not built in.
const char* TypeName(uint32_t oid);

}  // namespace pglessor::postgres
