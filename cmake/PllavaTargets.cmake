# Functions for the library targets of pllava. Each target has an alias with the same name in the
# build tree and after installation, requires C++20, and has an export set.
include(${CMAKE_CURRENT_LIST_DIR}/PllavaWarnings.cmake)

set(PLLAVA_INSTALL_CMAKEDIR "${CMAKE_INSTALL_LIBDIR}/cmake/pllava")

# pllava_component(<target> NAME <component> EXPORT_NAME <name> [OUTPUT_NAME <file>])
# Makes <target> the library of a component, usable as pllava::<name>.
function(pllava_component target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "NAME;EXPORT_NAME;OUTPUT_NAME" "")
  add_library(pllava::${arg_EXPORT_NAME} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${arg_EXPORT_NAME})
  get_target_property(type ${target} TYPE)
  set(scope PUBLIC)
  if(type STREQUAL "INTERFACE_LIBRARY")
    set(scope INTERFACE)
  endif()
  target_compile_features(${target} ${scope} cxx_std_20)
  target_include_directories(${target} ${scope}
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  if(scope STREQUAL "PUBLIC")
    pllava_own(${target})
    set_target_properties(${target} PROPERTIES
      CXX_EXTENSIONS OFF
      OUTPUT_NAME ${arg_OUTPUT_NAME}
      POSITION_INDEPENDENT_CODE ON  # a static library may be linked into a shared one
      VERSION ${PROJECT_VERSION}
      SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
      INSTALL_RPATH "$<$<PLATFORM_ID:Linux>:$ORIGIN>")
    if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
      # A parent project may hide symbols by default; all of ours are public.
      target_compile_options(${target} PRIVATE
        $<$<COMPILE_LANGUAGE:CXX>:-fvisibility=default>
        $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${PLLAVA_OPTIMIZE}>>:-O3>)
    endif()
    if(NOT PROJECT_IS_TOP_LEVEL AND NOT PLLAVA_INSTALL)
      set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON)
    endif()
  endif()
  set_property(GLOBAL APPEND PROPERTY PLLAVA_COMPONENTS ${arg_NAME})
  set_property(GLOBAL PROPERTY PLLAVA_TARGET_OF_${arg_NAME} ${target})
endfunction()

# pllava_find_for(<component> <option> "<package> [args]"...)
# Finds the dependencies of an optional component and sets PLLAVA_HAS_<component>. If one is
# missing, ON is an error, and AUTO leaves the component out with a message.
macro(pllava_find_for component option)
  set(PLLAVA_HAS_${component} OFF)
  if(${option})
    set(PLLAVA_HAS_${component} ON)
    list(PREPEND CMAKE_MODULE_PATH "${PROJECT_SOURCE_DIR}/cmake")
    foreach(_package IN ITEMS ${ARGN})
      separate_arguments(_package)
      list(GET _package 0 _name)
      if(${option} STREQUAL "AUTO")
        find_package(${_package} QUIET)
      else()
        find_package(${_package} REQUIRED)
      endif()
      if(NOT ${_name}_FOUND)
        set(PLLAVA_HAS_${component} OFF)
        if(PROJECT_IS_TOP_LEVEL)
          string(REGEX MATCH "^[^;]+(;[0-9.]+)?" _wanted "${_package}")
          string(REPLACE ";" " " _wanted "${_wanted}")
          message(STATUS "Component ${component} is left out: ${_wanted} was not found "
                         "(${option}=ON makes this an error)")
        endif()
      endif()
    endforeach()
    list(POP_FRONT CMAKE_MODULE_PATH)
  endif()
endmacro()
