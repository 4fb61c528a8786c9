# Finds the FFmpeg libraries named as components (avformat, avcodec, avutil, swscale, ...) and
# defines a target FFmpeg::<component> for each. FFmpeg_VERSION is 4.3 for 4.0 to 4.3, 4.4,
# and from 5 on the major version. pkg-config is used for hints if available; FFmpeg_ROOT and
# CMAKE_PREFIX_PATH work without it.
include(FindPackageHandleStandardArgs)
find_package(PkgConfig QUIET)

if(NOT FFmpeg_FIND_COMPONENTS)
  set(FFmpeg_FIND_COMPONENTS avformat avcodec avutil swscale)
endif()

foreach(component IN LISTS FFmpeg_FIND_COMPONENTS)
  if(PkgConfig_FOUND)
    pkg_check_modules(FFmpeg_PC_${component} QUIET lib${component})
  endif()
  find_path(FFmpeg_${component}_INCLUDE_DIR lib${component}/version.h
    HINTS ${FFmpeg_PC_${component}_INCLUDE_DIRS})
  find_library(FFmpeg_${component}_LIBRARY ${component}
    HINTS ${FFmpeg_PC_${component}_LIBRARY_DIRS})
  mark_as_advanced(FFmpeg_${component}_INCLUDE_DIR FFmpeg_${component}_LIBRARY)

  set(FFmpeg_${component}_FOUND OFF)
  if(FFmpeg_${component}_INCLUDE_DIR AND FFmpeg_${component}_LIBRARY)
    set(FFmpeg_${component}_FOUND ON)
    if(NOT TARGET FFmpeg::${component})
      add_library(FFmpeg::${component} UNKNOWN IMPORTED)
      set_target_properties(FFmpeg::${component} PROPERTIES
        IMPORTED_LOCATION "${FFmpeg_${component}_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${FFmpeg_${component}_INCLUDE_DIR}")
    endif()
    list(APPEND FFmpeg_libraries "${FFmpeg_${component}_LIBRARY}")
  endif()
endforeach()

# The major version of libavformat is that of FFmpeg plus 54; FFmpeg 4.4 has libavformat 58.76.
set(FFmpeg_lines "")
foreach(header IN ITEMS version.h version_major.h)  # version_major.h: from FFmpeg 5.1 on
  set(header "${FFmpeg_avformat_INCLUDE_DIR}/libavformat/${header}")
  if(EXISTS "${header}")
    file(STRINGS "${header}" FFmpeg_line REGEX "define LIBAVFORMAT_VERSION_(MAJOR|MINOR) ")
    list(APPEND FFmpeg_lines ${FFmpeg_line})
  endif()
endforeach()
set(FFmpeg_VERSION "")
if("${FFmpeg_lines}" MATCHES "VERSION_MAJOR +([0-9]+)")
  math(EXPR FFmpeg_VERSION "${CMAKE_MATCH_1} - 54")
  if(FFmpeg_VERSION EQUAL 4 AND "${FFmpeg_lines}" MATCHES "VERSION_MINOR +([0-9]+)")
    if(CMAKE_MATCH_1 LESS 76)
      set(FFmpeg_VERSION 4.3)
    else()
      set(FFmpeg_VERSION 4.4)
    endif()
  endif()
endif()

find_package_handle_standard_args(FFmpeg
  REQUIRED_VARS FFmpeg_libraries VERSION_VAR FFmpeg_VERSION HANDLE_COMPONENTS)
unset(FFmpeg_libraries)
unset(FFmpeg_lines)
unset(FFmpeg_line)
