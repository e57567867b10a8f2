# pglessor_strict(TARGET): our warnings, as errors, for code that we wrote (not for generated code).
# Hardening is for everything that is compiled here, and is set at the end of this file.

function(pglessor_strict target)
  set(warnings
    -Wall
    -Wextra
    -Wcast-align
    -Wextra-semi
    -Wformat=2
    -Wimplicit-fallthrough
    -Wnon-virtual-dtor
    -Woverloaded-virtual
    -Wundef
    -Wvla)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND warnings
      -Wduplicated-cond
      -Wlogical-op
      -Wmissing-declarations
      -Wshadow=local
      -Wsuggest-override
      -Wunused-but-set-parameter)
    if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
      list(APPEND warnings -Wno-restrict) # GCC bug 105651: false on std::string operator+
    endif()
  elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    list(APPEND warnings
      -Wmissing-prototypes
      -Wshadow
      -Wsuggest-override
      -Wthread-safety
      -Wunreachable-code)
  endif()
  if(PGLESSOR_WERROR)
    list(APPEND warnings -Werror)
  endif()
  target_compile_options(${target} PRIVATE ${warnings})
endfunction()

# --- hardening ---------------------------------------------------------------------------------
include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)
set(CMAKE_POSITION_INDEPENDENT_CODE ON) # -fPIE for executables' objects, -fPIC for libraries'
add_compile_options(-fstack-protector-strong)
add_compile_definitions(_GLIBCXX_ASSERTIONS)
add_link_options(-Wl,-z,relro -Wl,-z,now)
if(NOT PGLESSOR_SANITIZE AND NOT PGLESSOR_FUZZ) # the sanitizers' interceptors are the stricter check
  add_compile_options("$<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
endif()
