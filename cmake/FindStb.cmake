# Finds the single-header library stb_image and defines the target Stb::Stb, whose include directory
# has <stb/stb_image.h> or <stb_image.h>. Needed to build pllava, not to use it.
include(FindPackageHandleStandardArgs)
find_path(Stb_INCLUDE_DIR NAMES stb/stb_image.h stb_image.h)
mark_as_advanced(Stb_INCLUDE_DIR)
find_package_handle_standard_args(Stb REQUIRED_VARS Stb_INCLUDE_DIR)
if(Stb_FOUND AND NOT TARGET Stb::Stb)
  add_library(Stb::Stb INTERFACE IMPORTED)
  set_target_properties(Stb::Stb PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${Stb_INCLUDE_DIR}")
endif()
