// The functions of cuBLASLt, loaded when they are first needed.
#pragma once

#include <cublasLt.h>

namespace pllava::cuda {

/// The library takes 260 MB of address space and most of the start of a program, which may not use
/// a GPU at all. So it is not linked.
struct CublasLtLibrary {
  /// Opens the library at the first call: by its name, as the dynamic linker finds it, else in the
  /// directory of the CUDA toolkit of the build. Throws cuda::Error.
  static const CublasLtLibrary& get();

  decltype(&::cublasLtGetStatusName) cublasLtGetStatusName;
  decltype(&::cublasLtCreate) cublasLtCreate;
  decltype(&::cublasLtDestroy) cublasLtDestroy;
  decltype(&::cublasLtMatrixLayoutCreate) cublasLtMatrixLayoutCreate;
  decltype(&::cublasLtMatrixLayoutDestroy) cublasLtMatrixLayoutDestroy;
  decltype(&::cublasLtMatmulDescCreate) cublasLtMatmulDescCreate;
  decltype(&::cublasLtMatmulDescDestroy) cublasLtMatmulDescDestroy;
  decltype(&::cublasLtMatmulDescSetAttribute) cublasLtMatmulDescSetAttribute;
  decltype(&::cublasLtMatmulPreferenceCreate) cublasLtMatmulPreferenceCreate;
  decltype(&::cublasLtMatmulPreferenceDestroy) cublasLtMatmulPreferenceDestroy;
  decltype(&::cublasLtMatmulPreferenceSetAttribute) cublasLtMatmulPreferenceSetAttribute;
  decltype(&::cublasLtMatmulAlgoGetHeuristic) cublasLtMatmulAlgoGetHeuristic;
  decltype(&::cublasLtMatmulAlgoCheck) cublasLtMatmulAlgoCheck;
  decltype(&::cublasLtMatmul) cublasLtMatmul;
};

}  // namespace pllava::cuda
