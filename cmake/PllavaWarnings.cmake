# pllava_own(target): compiles and links a target of this project with its warnings and sanitizers.
# Both are targets that are never installed or exported, so they do not affect users.
add_library(pllava_warnings INTERFACE)
if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  set(warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
  if(PLLAVA_WERROR)
    list(APPEND warnings -Werror)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 falsely reports overlapping copies in `"text" + std::string`.
    list(APPEND warnings -Wno-restrict)
  endif()
  target_compile_options(pllava_warnings INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${warnings}>")
elseif(MSVC)
  target_compile_options(pllava_warnings INTERFACE
    /W4 /permissive- $<$<BOOL:${PLLAVA_WERROR}>:/WX>)
endif()

add_library(pllava_sanitizers INTERFACE)
if(PLLAVA_SANITIZE)
  list(JOIN PLLAVA_SANITIZE "," sanitizers)
  target_compile_options(pllava_sanitizers INTERFACE
    -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer
    # g++ 12 falsely reports uninitialized values in instrumented <regex> and <functional>.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(pllava_sanitizers INTERFACE -fsanitize=${sanitizers})
endif()

function(pllava_own target)
  target_link_libraries(${target} PRIVATE
    $<BUILD_INTERFACE:pllava_warnings> $<BUILD_INTERFACE:pllava_sanitizers>)
endfunction()
