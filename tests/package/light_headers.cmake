# Checks that the headers include only the standard library in compiled mode: no Eigen, JSON, FFmpeg
# or SIMD intrinsics. This keeps compile times of users short.
file(GLOB_RECURSE components "${SOURCE}/include/pllava/*.hpp")
list(FILTER components EXCLUDE REGEX "/detail/")
list(FILTER components EXCLUDE REGEX "/eigen\\.hpp$")  # includes Eigen by design
file(MAKE_DIRECTORY "${WORK}")
set(unit "// Includes every public header.\n")
foreach(header IN LISTS components)
  string(APPEND unit "#include \"${header}\"\n")
endforeach()
file(WRITE "${WORK}/unit.cpp" "${unit}")
execute_process(
  COMMAND ${CXX} -std=c++20 -DPLLAVA_COMPILED -I${SOURCE}/include -M ${WORK}/unit.cpp
  OUTPUT_VARIABLE files COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n]*(nlohmann|Eigen|libav|libsw|stb_image|immintrin)[^ \n]*"
  heavy "${files}")
if(heavy)
  list(REMOVE_DUPLICATES heavy)
  message(FATAL_ERROR "expected only standard headers in compiled mode, got ${heavy}")
endif()
