# Installation: headers and libraries, one export set per component, the package configuration with
# the Find modules, and pkg-config files. All paths are relative, so an installation can be moved.
include(CMakePackageConfigHelpers)

get_property(PLLAVA_COMPONENTS GLOBAL PROPERTY PLLAVA_COMPONENTS)
foreach(component IN LISTS PLLAVA_COMPONENTS)
  get_property(target GLOBAL PROPERTY PLLAVA_TARGET_OF_${component})
  get_target_property(header_sets ${target} INTERFACE_HEADER_SETS)
  set(file_sets "")
  foreach(set IN LISTS header_sets)
    list(APPEND file_sets FILE_SET ${set} COMPONENT pllava_development)
  endforeach()
  install(TARGETS ${target} EXPORT pllava-${component}-targets
    RUNTIME COMPONENT pllava_runtime
    LIBRARY COMPONENT pllava_runtime NAMELINK_COMPONENT pllava_development
    ARCHIVE COMPONENT pllava_development
    ${file_sets})
  install(EXPORT pllava-${component}-targets
    NAMESPACE pllava:: DESTINATION ${PLLAVA_INSTALL_CMAKEDIR} COMPONENT pllava_development)
endforeach()

configure_package_config_file(cmake/pllavaConfig.cmake.in
  ${PROJECT_BINARY_DIR}/pllavaConfig.cmake INSTALL_DESTINATION ${PLLAVA_INSTALL_CMAKEDIR}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pllavaConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(
  FILES
    ${PROJECT_BINARY_DIR}/pllavaConfig.cmake
    ${PROJECT_BINARY_DIR}/pllavaConfigVersion.cmake
    cmake/FindFFmpeg.cmake
    cmake/FindSentencePiece.cmake
  DESTINATION ${PLLAVA_INSTALL_CMAKEDIR} COMPONENT pllava_development)

# pkg-config: pllava (header-only), pllava-compiled, pllava-video, pllava-sentencepiece. The prefix
# is relative to the .pc file.
set(pkgconfig_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH pc_prefix "/prefix/${pkgconfig_dir}" "/prefix")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
set(PC_PREFIX "\${pcfiledir}/${pc_prefix}")
# A program links the dependencies of a static library itself; a shared library links its own.
if(BUILD_SHARED_LIBS)
  set(PC_NEEDS "Requires.private")
else()
  set(PC_NEEDS "Requires")
endif()
set(pc_files pllava pllava-compiled)
if(PLLAVA_HAS_video)
  list(APPEND pc_files pllava-video)
endif()
if(PLLAVA_HAS_sentencepiece)
  list(APPEND pc_files pllava-sentencepiece)
endif()
foreach(pc IN LISTS pc_files)
  configure_file(cmake/${pc}.pc.in ${PROJECT_BINARY_DIR}/${pc}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${pc}.pc
    DESTINATION ${pkgconfig_dir} COMPONENT pllava_development)
endforeach()

install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT pllava_development)
