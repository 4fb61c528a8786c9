# Checks configurations without compiling: the optimization of a subproject without a build type, and
# an nvcc that does not work.

# configure(<source directory> <option>...): expects success. Sets `output`, and `kernels` to the
# command that compiles the kernels.
function(configure source)
  file(REMOVE_RECURSE "${WORK}/build")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -S ${source} -B ${WORK}/build
      -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DPLLAVA_SOURCE=${SOURCE}
      -DPLLAVA_BUILD_TESTS=OFF -DPLLAVA_BUILD_TOOLS=OFF -DPLLAVA_BUILD_EXAMPLES=OFF ${ARGN}
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${source} with ${ARGN}: expected success, got\n${output}")
  endif()
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  set(output "${output}" PARENT_SCOPE)
  file(STRINGS "${WORK}/build/compile_commands.json" kernels REGEX "\"command\".*src/cpu_kernels\\.cpp")
  set(kernels "${kernels}" PARENT_SCOPE)
endfunction()

# expect(<variable> <regex>), expect(<variable> NOT <regex>)
function(expect variable)
  if(ARGV1 STREQUAL "NOT" AND "${${variable}}" MATCHES "${ARGV2}")
    message(SEND_ERROR "expected no '${ARGV2}' in ${variable}:\n${${variable}}")
  elseif(NOT ARGV1 STREQUAL "NOT" AND NOT "${${variable}}" MATCHES "${ARGV1}")
    message(SEND_ERROR "expected '${ARGV1}' in ${variable}:\n${${variable}}")
  endif()
endfunction()

set(ENV{CXXFLAGS} "")
set(warning "No build type is set.*CMAKE_BUILD_TYPE=Release")
set(subproject "${CMAKE_CURRENT_LIST_DIR}/add_subdirectory")
configure(${subproject} -DPLLAVA_CUDA=OFF)
expect(output "${warning}")
expect(kernels " -O3 ")
configure(${subproject} -DPLLAVA_CUDA=OFF -DCMAKE_BUILD_TYPE=Debug)
expect(output NOT "${warning}")
expect(kernels NOT " -O")
configure(${subproject} -DPLLAVA_CUDA=OFF -DCMAKE_CXX_FLAGS=-Og)
expect(output NOT "${warning}")
expect(kernels NOT " -O3 ")
configure(${SOURCE} -DPLLAVA_CUDA=OFF)
expect(kernels " -O3 ")

# nvcc by environment variable and by path. Without a CUDA toolkit the component is left out too.
file(WRITE "${WORK}/broken/nvcc" "#!/bin/sh\nexit 1\n")
file(CHMOD "${WORK}/broken/nvcc" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
set(ENV{CUDACXX} "${WORK}/broken/nvcc")
configure(${SOURCE} -DPLLAVA_CUDA=AUTO)
expect(output "Component cuda is left out")
unset(ENV{CUDACXX})
set(ENV{PATH} "${WORK}/broken:$ENV{PATH}")
configure(${SOURCE} -DPLLAVA_CUDA=AUTO)
expect(output "Component cuda is left out")
