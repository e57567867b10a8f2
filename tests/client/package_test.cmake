# Installs the client into an empty folder, and builds and runs consumer/ with nothing else of ours.
file(REMOVE_RECURSE "${WORK}")
set(prefix "${WORK}/prefix")
set(flags "")
if(SANITIZE STREQUAL "address") # what the library was compiled with
  set(flags "-fsanitize=address,undefined")
endif()

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN}: ${result}\n${output}")
  endif()
endfunction()

run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${prefix}" --component client)

# Users of the headers have no gRPC and no protobuf headers to thank for anything.
file(GLOB_RECURSE headers "${prefix}/include/*.h")
if(NOT headers)
  message(FATAL_ERROR "no headers were installed")
endif()
foreach(header IN LISTS headers)
  file(STRINGS "${header}" foreign REGEX "#include.*(grpc|protobuf|\\.pb\\.h|server/|internal/)")
  if(foreign)
    message(FATAL_ERROR "${header} includes ${foreign}")
  endif()
endforeach()

run(${CMAKE_COMMAND} -G Ninja -S "${SOURCE}" -B "${WORK}/build"
  "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_CXX_FLAGS=${flags}")
run(${CMAKE_COMMAND} --build "${WORK}/build")
run("${WORK}/build/consumer")
