# The examples caption and components must print the same, non-empty text.
foreach(program IN ITEMS CAPTION COMPONENTS)
  execute_process(COMMAND ${${program}} pllava-7b cat.mp4
    OUTPUT_VARIABLE ${program}_output OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(STRIP "${${program}_output}" ${program}_output)
endforeach()
if(CAPTION_output STREQUAL "" OR NOT CAPTION_output STREQUAL COMPONENTS_output)
  message(FATAL_ERROR "caption:\n${CAPTION_output}\ncomponents:\n${COMPONENTS_output}")
endif()
message(STATUS "${CAPTION_output}")
