# Installation: headers and libraries, one export set per component, the package configuration with
# the Find modules, and pkg-config files. All paths are relative, so an installation can be moved.
include(CMakePackageConfigHelpers)

get_property(PLLAVA_COMPONENTS GLOBAL PROPERTY PLLAVA_COMPONENTS)
foreach(component IN LISTS PLLAVA_COMPONENTS)
  get_property(target GLOBAL PROPERTY PLLAVA_TARGET_OF_${component})
  install(TARGETS ${target} EXPORT pllava-${component}-targets
    RUNTIME COMPONENT pllava_runtime
    LIBRARY COMPONENT pllava_runtime NAMELINK_COMPONENT pllava_development
    ARCHIVE COMPONENT pllava_development)
  install(EXPORT pllava-${component}-targets
    NAMESPACE pllava:: DESTINATION ${PLLAVA_INSTALL_CMAKEDIR} COMPONENT pllava_development)
endforeach()

# The headers, except those of components that are not built.
set(eigen_headers eigen.hpp)
set(video_headers media/video.hpp media/image_io.hpp)
set(sentencepiece_headers text/tokenizer_sentencepiece.hpp)
set(cuda_headers cuda.hpp)
set(absent "")
foreach(component IN ITEMS eigen video sentencepiece cuda)
  if(NOT PLLAVA_HAS_${component})
    foreach(header IN LISTS ${component}_headers)
      list(APPEND absent PATTERN "include/pllava/${header}" EXCLUDE)
    endforeach()
  endif()
endforeach()
install(DIRECTORY include/pllava DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT pllava_development FILES_MATCHING PATTERN "*.hpp" ${absent})

configure_package_config_file(cmake/pllavaConfig.cmake.in
  ${PROJECT_BINARY_DIR}/pllavaConfig.cmake INSTALL_DESTINATION ${PLLAVA_INSTALL_CMAKEDIR}
  NO_SET_AND_CHECK_MACRO)
configure_file(cmake/pllavaConfigVersion.cmake.in
  ${PROJECT_BINARY_DIR}/pllavaConfigVersion.cmake @ONLY)
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
