# Finds the FFmpeg libraries named as components (avformat, avcodec, avutil, swscale, ...) and
# defines a target FFmpeg::<component> for each. pkg-config is used for hints if available;
# FFmpeg_ROOT and CMAKE_PREFIX_PATH work without it.
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

find_package_handle_standard_args(FFmpeg REQUIRED_VARS FFmpeg_libraries HANDLE_COMPONENTS)
unset(FFmpeg_libraries)
