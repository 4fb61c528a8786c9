# Functions for the library targets of pllava. Each target has an alias with the same name in the
# build tree and after installation, requires C++20, lists its headers as file sets, and has an
# export set.
include(${CMAKE_CURRENT_LIST_DIR}/PllavaWarnings.cmake)

set(PLLAVA_INSTALL_CMAKEDIR "${CMAKE_INSTALL_LIBDIR}/cmake/pllava")

# pllava_component(<target> NAME <component> EXPORT_NAME <name> [OUTPUT_NAME <file>])
# Makes <target> the library of a component, usable as pllava::<name>.
function(pllava_component target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "NAME;EXPORT_NAME;OUTPUT_NAME" "")
  add_library(pllava::${arg_EXPORT_NAME} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${arg_EXPORT_NAME})
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "INTERFACE_LIBRARY")
    target_compile_features(${target} INTERFACE cxx_std_20)
  else()
    target_compile_features(${target} PUBLIC cxx_std_20)
    pllava_own(${target})
    set_target_properties(${target} PROPERTIES
      CXX_EXTENSIONS OFF
      OUTPUT_NAME ${arg_OUTPUT_NAME}
      POSITION_INDEPENDENT_CODE ON  # a static library may be linked into a shared one
      VERSION ${PROJECT_VERSION}
      SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
      INSTALL_RPATH "$<$<PLATFORM_ID:Linux>:$ORIGIN>")
    if(NOT PROJECT_IS_TOP_LEVEL AND NOT PLLAVA_INSTALL)
      set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON)
    endif()
  endif()
  set_property(GLOBAL APPEND PROPERTY PLLAVA_COMPONENTS ${arg_NAME})
  set_property(GLOBAL PROPERTY PLLAVA_TARGET_OF_${arg_NAME} ${target})
endfunction()

# pllava_headers(<target> PUBLIC|INTERFACE FILES <file>... [BODIES <file>...])
# Adds the headers of a component. `cmake --build . --target all_verify_interface_header_sets`
# compiles each of FILES alone. BODIES are installed too; only FILES include them.
function(pllava_headers target scope)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "FILES;BODIES")
  target_sources(${target} ${scope}
    FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}/include" FILES ${arg_FILES})
  if(arg_BODIES)
    target_sources(${target} ${scope}
      FILE_SET bodies TYPE HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}/include" FILES ${arg_BODIES})
  endif()
  set_target_properties(${target} PROPERTIES
    VERIFY_INTERFACE_HEADER_SETS ${PROJECT_IS_TOP_LEVEL}
    INTERFACE_HEADER_SETS_TO_VERIFY HEADERS)
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
          message(STATUS "Component ${component} is left out: ${_name} was not found "
                         "(${option}=ON makes this an error)")
        endif()
      endif()
    endforeach()
    list(POP_FRONT CMAKE_MODULE_PATH)
  endif()
endmacro()
