# re2 for gRPC, found without asking pkg-config, as gRPC's own Findre2 does: on Debian 13 that walks Abseil's
# graph for half a minute. gRPC looks for re2 only where re2_FOUND is unset.
if(NOT TARGET re2::re2)
  find_library(PGLESSOR_RE2_LIBRARY re2 REQUIRED)
  mark_as_advanced(PGLESSOR_RE2_LIBRARY)
  add_library(re2::re2 INTERFACE IMPORTED)
  set_property(TARGET re2::re2 PROPERTY INTERFACE_LINK_LIBRARIES "${PGLESSOR_RE2_LIBRARY}")
endif()
set(re2_FOUND TRUE)
