# The examples caption and components must print the same, and something.
foreach(program IN ITEMS CAPTION COMPONENTS)
  execute_process(COMMAND ${${program}} pllava-7b cat.mp4
    OUTPUT_VARIABLE ${program}_says OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(STRIP "${${program}_says}" ${program}_says)
endforeach()
if(CAPTION_says STREQUAL "" OR NOT CAPTION_says STREQUAL COMPONENTS_says)
  message(FATAL_ERROR "caption:\n${CAPTION_says}\ncomponents:\n${COMPONENTS_says}")
endif()
message(STATUS "${CAPTION_says}")
