# PGLESSOR_SANITIZE: "" | "address" (AddressSanitizer with leaks, and UBSan) | "thread".
# Set for everything that is compiled here, generated code included.
# Debian 13: its Abseil crashes under ASan and its g++ does not compile it with UBSan; use Debian 12.

set(PGLESSOR_SANITIZE "" CACHE STRING "Sanitizers: empty, address or thread")
set_property(CACHE PGLESSOR_SANITIZE PROPERTY STRINGS "" address thread)

set(PGLESSOR_TEST_ENVIRONMENT "") # NAME=value for each test, at most one (CTest's lists nest badly)
if(PGLESSOR_SANITIZE STREQUAL "address")
  set(sanitize_flags -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  set(PGLESSOR_TEST_ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1")
elseif(PGLESSOR_SANITIZE STREQUAL "thread")
  if(NOT PGLESSOR_CORE_ONLY)
    message(FATAL_ERROR
      "PGLESSOR_SANITIZE=thread needs PGLESSOR_CORE_ONLY=ON: Debian's gRPC and absl::Mutex are not "
      "instrumented, and ThreadSanitizer then reports races in correct code.")
  endif()
  set(sanitize_flags -fsanitize=thread -fno-omit-frame-pointer)
  set(PGLESSOR_TEST_ENVIRONMENT "TSAN_OPTIONS=halt_on_error=1 second_deadlock_stack=1")
elseif(PGLESSOR_SANITIZE)
  message(FATAL_ERROR "PGLESSOR_SANITIZE=${PGLESSOR_SANITIZE}: expected empty, address or thread")
endif()

if(PGLESSOR_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "PGLESSOR_FUZZ needs clang (libFuzzer): cmake --preset fuzz")
  endif()
  list(APPEND sanitize_flags -fsanitize=fuzzer-no-link) # coverage for libFuzzer in all of our code
endif()

if(sanitize_flags)
  add_compile_options(${sanitize_flags})
  add_link_options(${sanitize_flags})
endif()
