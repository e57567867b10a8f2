// How much memory a process has.
#pragma once

#include <sys/types.h>

#include <cstdint>

// Under a sanitizer, which keeps what was freed, memory says nothing.
#if defined(__SANITIZE_ADDRESS__)
#define PGLESSOR_UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PGLESSOR_UNDER_ASAN 1
#endif
#endif
#ifndef PGLESSOR_UNDER_ASAN
#define PGLESSOR_UNDER_ASAN 0
#endif

namespace pglessor::system {

// What stands in memory of it; fails the test if there is no such process.
int64_t ResidentKilobytes(pid_t process);

}  // namespace pglessor::system
