# add_snippets(<page.md>): builds the C++ blocks of a page into one program, and adds tests that run
# it and the commands of the page. The info string of a fence is the kind of the block (GitHub
# highlights by its first word):
#
#   ```cpp               statements, in a separate function
#   ```cpp continued     statements that continue the function of the previous block
#   ```cpp file-scope    types and functions
#   ```cpp compile-only  statements that are compiled and not run, for example with a camera
#   ```output            the exact output of the previous C++ block
#   ```sh                lines that begin with "pllava " are run with the program of this build
#
# Other fences are ignored. Compiler errors and test output name a block by its page and line.
function(add_snippets page)
  cmake_path(RELATIVE_PATH page BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE short)
  cmake_path(GET page STEM name)
  string(TOLOWER "docs_${name}" name)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${page})

  # The page as a list of lines. Characters that are special in lists are replaced until the end.
  file(READ ${page} text)
  set(special_1 ";")
  set(special_2 "[")
  set(special_3 "]")
  set(special_4 "\\")
  foreach(i RANGE 1 4)
    string(ASCII ${i} mark)
    string(REPLACE "${special_${i}}" "${mark}" text "${text}")
  endforeach()
  string(REPLACE "\n" ";" lines "${text}")

  set(fence "")    # info string of the open fence
  set(source "")   # functions and definitions
  set(main "")     # calls of the functions
  set(script "")   # the commands, on the same lines as in the page
  set(ends "")     # the end of the open function, if any
  set(number 0)
  foreach(line IN LISTS lines)
    math(EXPR number "${number} + 1")
    math(EXPR next "${number} + 1")
    set(command "")
    if(line MATCHES "^```(.*)$" AND fence STREQUAL "")
      set(fence "${CMAKE_MATCH_1}")
      if(fence STREQUAL "")
        set(fence "text")
      elseif(fence MATCHES "^cpp$|^cpp (file-scope|compile-only)$")
        string(APPEND source "${ends}")
        set(ends "")
        if(NOT fence STREQUAL "cpp file-scope")
          string(APPEND source "[[maybe_unused]] static void block_${number}() {\n")
          set(ends "}\n")
        endif()
        if(fence STREQUAL "cpp")
          string(APPEND main "  docs::run(\"${short}:${number}\", block_${number});\n")
        endif()
      elseif(fence MATCHES "^cpp continued$|^output$" AND ends)
        if(fence STREQUAL "output")
          string(APPEND source "docs::expect(\"${short}:${number}\", R\"~~~(")
        endif()
      elseif(fence MATCHES "^(cpp|output)")
        message(FATAL_ERROR "${short}:${number}: unknown or misplaced block \"${fence}\"")
      endif()
      if(fence MATCHES "^cpp")
        string(APPEND source "#line ${next} \"${short}\"\n")
      endif()
    elseif(line STREQUAL "```")
      if(fence STREQUAL "output")
        string(APPEND source ")~~~\");\n")
      endif()
      set(fence "")
    elseif(fence MATCHES "^cpp|^output$")
      string(APPEND source "${line}\n")
    elseif(fence STREQUAL "sh" AND line MATCHES "^pllava ")
      set(command "${line}")
      set(has_commands ON)
    endif()
    string(APPEND script "${command}\n")
  endforeach()
  if(fence)
    message(FATAL_ERROR "${short}: block \"${fence}\" has no end")
  endif()
  foreach(i RANGE 1 4)
    string(ASCII ${i} mark)
    foreach(text IN ITEMS source main script)
      string(REPLACE "${mark}" "${special_${i}}" ${text} "${${text}}")
    endforeach()
  endforeach()

  if(source)
    set(file "${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp")
    file(CONFIGURE OUTPUT ${file} NEWLINE_STYLE UNIX CONTENT [[
// Generated from @short@ by tests/docs/Snippets.cmake.
#include "docs/snippets.hpp"

@source@@ends@
int main() {
@main@  return docs::failures;
}
]] @ONLY)
    add_executable(${name} ${file})
    pllava_own(${name})
    if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
      target_compile_options(${name} PRIVATE -O0)  # half the compile time
    endif()
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${name} PRIVATE pllava::compiled pllava::video)
    add_test(NAME ${name} COMMAND ${name})
    in_world(${name} docs)
  endif()
  if(has_commands)
    set(file "${CMAKE_CURRENT_BINARY_DIR}/${name}.sh")
    file(CONFIGURE OUTPUT ${file} NEWLINE_STYLE UNIX @ONLY CONTENT
      "PS4='@short@:$LINENO: '; set -eux@script@")
    add_test(NAME ${name}_commands COMMAND bash ${file})
    in_world(${name}_commands docs
      ENVIRONMENT "PATH=$<TARGET_FILE_DIR:pllava_cli>:$ENV{PATH}")
  endif()
endfunction()
