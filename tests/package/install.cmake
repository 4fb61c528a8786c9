# Installs the build to one place, moves the tree to another, and looks for anything that still
# names the first place, the sources or the build. The consumers then use the moved tree.
set(first "${WORK}/first")
file(REMOVE_RECURSE "${first}" "${PREFIX}")
execute_process(
  COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${first} --config "${CONFIG}"
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${first}" "${PREFIX}")

file(GLOB_RECURSE headers RELATIVE "${SOURCE}/include" "${SOURCE}/include/*.hpp")
foreach(header IN LISTS headers)
  if(NOT EXISTS "${PREFIX}/include/${header}" AND NOT header MATCHES
     "pllava/(eigen|video|image_io|tokenizer_sentencepiece|cuda)\\.hpp")
    message(SEND_ERROR "${header} was not installed")
  endif()
endforeach()

file(GLOB_RECURSE texts
  "${PREFIX}/${LIBDIR}/cmake/*.cmake" "${PREFIX}/${LIBDIR}/pkgconfig/*.pc" "${PREFIX}/include/*")
if(NOT texts)
  message(FATAL_ERROR "Nothing was installed under ${PREFIX}")
endif()
foreach(text IN LISTS texts)
  file(READ "${text}" content)
  foreach(place IN ITEMS "${first}" "${SOURCE}" "${BUILD}")
    string(FIND "${content}" "${place}" position)
    if(NOT position EQUAL -1)
      message(SEND_ERROR "${text} names ${place}")
    endif()
  endforeach()
endforeach()
