# Component cuda: kernels compiled by nvcc, and the backend that launches them. The build needs no
# GPU and no driver.

pllava_find_for(cuda PLLAVA_CUDA "CUDAToolkit 12.0")
if(PLLAVA_HAS_cuda)
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    set(CMAKE_CUDA_COMPILER "${CUDAToolkit_NVCC_EXECUTABLE}")
  endif()
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
