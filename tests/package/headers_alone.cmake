# Checks that each public header compiles alone: CMake's verification of the header sets, without
# code generation.
execute_process(
  COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -S ${SOURCE} -B ${WORK} -DCMAKE_CXX_COMPILER=${CXX}
    -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-fsyntax-only
    -DCMAKE_TRY_COMPILE_CONFIGURATION=Release
    -DPLLAVA_BUILD_TESTS=OFF -DPLLAVA_BUILD_TOOLS=OFF -DPLLAVA_BUILD_EXAMPLES=OFF
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND ${CMAKE_COMMAND} --build ${WORK} --target all_verify_interface_header_sets --parallel
  OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${output}")
endif()
