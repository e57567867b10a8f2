# The three ways to add code. All are included from the project's root: "server/core/pool.h".
#
# pglessor_add_library(NAME SOURCES files... [DEPS targets...])
#   A static library (or, of headers only, an interface library). DEPS are public.
# pglessor_add_test(NAME SOURCES files... [DEPS targets...] [LABELS labels...] [TIMEOUT seconds]
#                   [ONE_PROCESS])
#   A GoogleTest executable. Each of its tests is a CTest test NAME/Suite.Test; with ONE_PROCESS, for
#   those that start a PostgreSQL, the whole executable is one. TIMEOUT is each CTest test's, 60 by
#   default.
# pglessor_add_fuzz_test(NAME SOURCES files... [DEPS targets...])
#   A libFuzzer executable, its seeds in corpus/NAME beside it, and a test labelled fuzz that runs it
#   PGLESSOR_FUZZ_SECONDS. Without PGLESSOR_FUZZ nothing. The target fuzz_tests builds all of them.

set(PGLESSOR_FUZZ_SECONDS 5 CACHE STRING "How long each fuzz test runs")

function(pglessor_add_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS")
  pglessor_check_arguments(${name})
  set(compiled ${arg_SOURCES})
  list(FILTER compiled EXCLUDE REGEX "\\.h$")
  if(compiled)
    add_library(${name} STATIC ${arg_SOURCES})
    target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${name} PUBLIC ${arg_DEPS} Threads::Threads)
    pglessor_strict(${name})
  else()
    add_library(${name} INTERFACE ${arg_SOURCES})
    target_include_directories(${name} INTERFACE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${name} INTERFACE ${arg_DEPS} Threads::Threads)
  endif()
endfunction()

function(pglessor_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "ONE_PROCESS" "TIMEOUT" "SOURCES;DEPS;LABELS")
  pglessor_check_arguments(${name})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()

  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE
    ${arg_DEPS} GTest::gmock_main GTest::gmock GTest::gtest Threads::Threads)
  pglessor_strict(${name})

  if(arg_ONE_PROCESS)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT}
      LABELS "${arg_LABELS}" ENVIRONMENT "${PGLESSOR_TEST_ENVIRONMENT}")
    return()
  endif()
  include(GoogleTest)
  gtest_discover_tests(${name}
    TEST_PREFIX "${name}/"
    TEST_LIST ${name}_tests
    DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60)
  # Its own PROPERTIES would keep only the first of several labels; this file runs after discovery.
  set(properties "${CMAKE_CURRENT_BINARY_DIR}/${name}_properties.cmake")
  file(WRITE "${properties}" "foreach(test IN LISTS ${name}_tests)
  set_tests_properties(\"\${test}\" PROPERTIES TIMEOUT ${arg_TIMEOUT}
    LABELS \"${arg_LABELS}\" ENVIRONMENT \"${PGLESSOR_TEST_ENVIRONMENT}\")
endforeach()
")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${properties}")
endfunction()

if(PGLESSOR_FUZZ)
  add_custom_target(fuzz_tests)
endif()

function(pglessor_add_fuzz_test name)
  if(NOT PGLESSOR_FUZZ)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS")
  pglessor_check_arguments(${name})
  set(seeds "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name}")
  set(found "${CMAKE_CURRENT_BINARY_DIR}/corpus/${name}/") # what it finds, and its crashes
  file(MAKE_DIRECTORY "${found}")
  if(NOT EXISTS "${seeds}")
    message(FATAL_ERROR "pglessor_add_fuzz_test(${name}): no seed corpus at ${seeds}")
  endif()

  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE ${arg_DEPS} Threads::Threads)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  pglessor_strict(${name})
  add_dependencies(fuzz_tests ${name})

  math(EXPR timeout "${PGLESSOR_FUZZ_SECONDS} + 60")
  add_test(NAME ${name} COMMAND ${name} -max_total_time=${PGLESSOR_FUZZ_SECONDS} -timeout=10
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix=${found} ${found} ${seeds})
  set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT ${timeout}
    ENVIRONMENT "${PGLESSOR_TEST_ENVIRONMENT}")
endfunction()

# A misspelt keyword must not silently become a source file.
macro(pglessor_check_arguments name)
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${name}: unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_SOURCES)
    message(FATAL_ERROR "${name}: no SOURCES")
  endif()
endmacro()
