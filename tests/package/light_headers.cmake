# In compiled mode the headers pull in no library but the standard one: neither Eigen, nor JSON, nor
# FFmpeg, nor the vector intrinsics. This is what keeps a user's build quick.
file(GLOB_RECURSE components "${SOURCE}/include/pllava/*.hpp")
list(FILTER components EXCLUDE REGEX "/detail/")
list(FILTER components EXCLUDE REGEX "/eigen\\.hpp$")  # the one that is about Eigen
file(MAKE_DIRECTORY "${WORK}")
set(unit "// Every public header of the top folder.\n")
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
  message(FATAL_ERROR "In compiled mode the headers include ${heavy}")
endif()
