# Component cuda: kernels compiled by nvcc, and the backend that launches them. The build needs no
# GPU and no driver.

pllava_find_for(cuda PLLAVA_CUDA "CUDAToolkit 12.0")
if(PLLAVA_HAS_cuda AND NOT CMAKE_CUDA_COMPILER)
  set(nvcc "${CUDAToolkit_NVCC_EXECUTABLE}")
  if(DEFINED ENV{CUDACXX})
    set(nvcc "$ENV{CUDACXX}")
  endif()
  if(PLLAVA_CUDA STREQUAL "AUTO")  # enable_language would end the configuration
    include(CheckLanguage)
    set(given "$ENV{CUDACXX}")
    set(ENV{CUDACXX} "${nvcc}")
    check_language(CUDA)
    set(ENV{CUDACXX} "${given}")
    if(NOT CMAKE_CUDA_COMPILER)
      unset(CMAKE_CUDA_COMPILER CACHE)
      set(PLLAVA_HAS_cuda OFF)
      message(STATUS "Component cuda is left out: ${nvcc} compiles nothing (PLLAVA_CUDA=ON shows "
                     "its error)")
    endif()
  else()
    set(CMAKE_CUDA_COMPILER "${nvcc}")
  endif()
endif()
if(PLLAVA_HAS_cuda)
  # Ampere and Hopper servers, and PTX, which newer GPUs compile when they first load it. Set the
  # variable for others, for example 87-real for Jetson Orin.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
  endif()
  enable_language(CUDA)

  file(GLOB cuda_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cuda/kernels/*.cu)
  file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cuda/*.cpp)
  add_library(pllava_cuda ${cuda_sources} ${cuda_kernels})
  target_include_directories(pllava_cuda PRIVATE ${PROJECT_SOURCE_DIR}/cuda)
  target_link_libraries(pllava_cuda
    PUBLIC pllava_compiled PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS})
  target_compile_definitions(pllava_cuda
    PRIVATE PLLAVA_CUDA_LIBRARY_DIR="${CUDAToolkit_LIBRARY_DIR}")
  set_target_properties(pllava_cuda PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON)
  target_compile_options(pllava_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
  pllava_component(pllava_cuda NAME cuda EXPORT_NAME cuda OUTPUT_NAME pllava_cuda)
endif()
