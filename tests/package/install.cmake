# Installs the build, moves the installation, and checks that no installed file contains the
# original path, the source path or the build path. The consumers then use the moved installation.
set(first "${WORK}/first")
file(REMOVE_RECURSE "${first}" "${PREFIX}")
execute_process(
  COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${first} --config "${CONFIG}"
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${first}" "${PREFIX}")

file(GLOB_RECURSE headers RELATIVE "${SOURCE}/include" "${SOURCE}/include/*.hpp")
foreach(header IN LISTS headers)
  if(NOT EXISTS "${PREFIX}/include/${header}" AND NOT header MATCHES
     "/(eigen|video|image_io|tokenizer_sentencepiece|cuda)\\.hpp$")
    message(SEND_ERROR "${header} was not installed")
  endif()
endforeach()

file(GLOB_RECURSE texts
  "${PREFIX}/${LIBDIR}/cmake/*.cmake" "${PREFIX}/${LIBDIR}/pkgconfig/*.pc" "${PREFIX}/include/*")
if(NOT texts)
  message(FATAL_ERROR "nothing was installed under ${PREFIX}")
endif()
foreach(text IN LISTS texts)
  file(READ "${text}" content)
  foreach(path IN ITEMS "${first}" "${SOURCE}" "${BUILD}")
    string(FIND "${content}" "${path}" position)
    if(NOT position EQUAL -1)
      message(SEND_ERROR "${text} contains the path ${path}")
    endif()
  endforeach()
endforeach()
