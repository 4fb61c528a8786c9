# Builds and runs the consumer with the flags of pkg-config for the moved installation.
find_program(pkg_config NAMES pkg-config pkgconf REQUIRED)
set(ENV{PKG_CONFIG_PATH} "${PREFIX}/${LIBDIR}/pkgconfig:$ENV{PKG_CONFIG_PATH}")
set(ENV{LD_LIBRARY_PATH} "${PREFIX}/${LIBDIR}:$ENV{LD_LIBRARY_PATH}")
file(MAKE_DIRECTORY "${WORK}")

function(consume package expected)
  execute_process(COMMAND ${pkg_config} --cflags --libs ${package}
    OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  execute_process(
    COMMAND ${CXX} -std=c++20 ${CMAKE_CURRENT_LIST_DIR}/consumer/main.cpp -o ${WORK}/${package}
      ${flags}
    COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${WORK}/${package}
    OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
  if(NOT output MATCHES "^${expected} ")
    message(FATAL_ERROR "${package}: expected '${expected}', got: ${output}")
  endif()
endfunction()

consume(pllava header-only)
consume(pllava-compiled compiled)
if(HAS_VIDEO)
  consume(pllava-video compiled)
endif()
