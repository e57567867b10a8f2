# pglessor_proto_library(NAME [OBJECT] [MESSAGES_ONLY] [ROOT folder] protos...)
#
# C++ from .proto files: messages, and the gRPC code of their services unless MESSAGES_ONLY. Protos
# are named relative to ROOT (default: proto/), and their headers are included by the same names, as
# in "pglessor/v1/lease_service.pb.h". All protos that import one another belong in one call.
#
# NAME is a static library. With OBJECT it hands its objects to every executable that links it, even
# through a static library, so that its descriptors are registered although nobody names its symbols.
#
# The target generated_code makes the C++ of all calls and compiles none of it: for clang-tidy.

add_custom_target(generated_code)

function(pglessor_proto_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "OBJECT;MESSAGES_ONLY" "ROOT" "")
  set(protos ${arg_UNPARSED_ARGUMENTS})
  set(root "${arg_ROOT}")
  if(NOT root)
    set(root "${PROJECT_SOURCE_DIR}/proto")
  endif()
  set(out "${PROJECT_BINARY_DIR}/proto/${name}")
  file(MAKE_DIRECTORY "${out}")

  set(absolute_protos ${protos})
  list(TRANSFORM absolute_protos PREPEND "${root}/")

  set(sources "")
  foreach(proto IN LISTS protos)
    string(REGEX REPLACE "\\.proto$" "" stem "${out}/${proto}")
    set(command protobuf::protoc "--proto_path=${root}" "--cpp_out=${out}")
    set(made "${stem}.pb.cc" "${stem}.pb.h")
    # Only where there is a service: gRPC's headers cost two seconds a file.
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${root}/${proto}")
    file(STRINGS "${root}/${proto}" services REGEX "^service[ \t]")
    if(services AND NOT arg_MESSAGES_ONLY)
      list(APPEND command "--grpc_out=${out}"
        "--plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>")
      list(APPEND made "${stem}.grpc.pb.cc" "${stem}.grpc.pb.h")
    endif()
    # Each output depends on all protos of the call, since any may import any other.
    add_custom_command(
      OUTPUT ${made}
      COMMAND ${command} "${root}/${proto}"
      DEPENDS ${absolute_protos} protobuf::protoc
      COMMENT "Generating C++ from ${proto}"
      VERBATIM)
    list(APPEND sources ${made})
  endforeach()
  add_custom_target(${name}_code DEPENDS ${sources})
  add_dependencies(generated_code ${name}_code)

  if(arg_OBJECT)
    set(compiled ${name}_objects)
    add_library(${compiled} OBJECT ${sources})
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE $<TARGET_OBJECTS:${compiled}> protobuf::libprotobuf gRPC::grpc++)
    target_include_directories(${name} SYSTEM INTERFACE "${out}")
    add_dependencies(${name} ${compiled})
  else()
    set(compiled ${name})
    add_library(${compiled} STATIC ${sources})
  endif()
  # Where it is installed, its headers are not.
  target_include_directories(${compiled} SYSTEM PUBLIC "$<BUILD_INTERFACE:${out}>")
  target_compile_options(${compiled} PRIVATE -w) # not our code
  target_link_libraries(${compiled} PUBLIC protobuf::libprotobuf)
  if(NOT arg_MESSAGES_ONLY)
    target_link_libraries(${compiled} PUBLIC gRPC::grpc++)
  endif()
endfunction()
