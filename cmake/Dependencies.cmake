# Everything the project takes from outside, and the only find_package calls.
# All of it comes from Debian 12 or 13; script/bootstrap installs it.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(absl CONFIG REQUIRED)
if(PGLESSOR_TESTS)
  find_package(GTest CONFIG REQUIRED)
endif()
if(PGLESSOR_CORE_ONLY)
  return()
endif()

find_package(Protobuf REQUIRED) # module mode: Debian ships no package config for it
find_package(OpenSSL REQUIRED)

include(Re2)
find_package(gRPC CONFIG REQUIRED)

find_package(PkgConfig REQUIRED)
pkg_check_modules(PQ REQUIRED IMPORTED_TARGET libpq)       # PkgConfig::PQ
pkg_check_modules(PQXX REQUIRED IMPORTED_TARGET libpqxx)   # PkgConfig::PQXX
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)       # PkgConfig::MICROHTTPD
pkg_check_modules(PROMETHEUS REQUIRED IMPORTED_TARGET prometheus-cpp-core) # PkgConfig::PROMETHEUS

find_package(CLI11 CONFIG REQUIRED)          # CLI11::CLI11
find_package(nlohmann_json CONFIG REQUIRED)  # nlohmann_json::nlohmann_json

# toml++ is headers alone as we use it: its library would be one more package where pglessor runs.
find_path(TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h REQUIRED)
mark_as_advanced(TOMLPLUSPLUS_INCLUDE_DIR)
add_library(tomlplusplus_headers INTERFACE)
target_include_directories(tomlplusplus_headers SYSTEM INTERFACE "${TOMLPLUSPLUS_INCLUDE_DIR}")
