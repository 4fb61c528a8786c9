#include "cublas_lt_library.hpp"

#include <string>

#include <dlfcn.h>

#include "pllava/cuda.hpp"

namespace pllava::cuda {

namespace {

const std::string kName = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);

void* open() {
  for (const std::string& path : {kName, PLLAVA_CUDA_LIBRARY_DIR "/" + kName})
    if (void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  const char* const reason = ::dlerror();
  throw Error("loading of " + kName, reason != nullptr ? reason : "unknown reason");
}

template <class Function>
void find(void* library, Function& function, const char* name) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (function == nullptr) throw Error("loading of " + kName, std::string("it lacks ") + name);
}

CublasLtLibrary load() {
  void* const library = open();  // stays open until the process ends
  CublasLtLibrary f = {};
  find(library, f.cublasLtGetStatusName, "cublasLtGetStatusName");
  find(library, f.cublasLtCreate, "cublasLtCreate");
  find(library, f.cublasLtDestroy, "cublasLtDestroy");
  find(library, f.cublasLtMatrixLayoutCreate, "cublasLtMatrixLayoutCreate");
  find(library, f.cublasLtMatrixLayoutDestroy, "cublasLtMatrixLayoutDestroy");
  find(library, f.cublasLtMatmulDescCreate, "cublasLtMatmulDescCreate");
  find(library, f.cublasLtMatmulDescDestroy, "cublasLtMatmulDescDestroy");
  find(library, f.cublasLtMatmulDescSetAttribute, "cublasLtMatmulDescSetAttribute");
  find(library, f.cublasLtMatmulPreferenceCreate, "cublasLtMatmulPreferenceCreate");
  find(library, f.cublasLtMatmulPreferenceDestroy, "cublasLtMatmulPreferenceDestroy");
  find(library, f.cublasLtMatmulPreferenceSetAttribute, "cublasLtMatmulPreferenceSetAttribute");
  find(library, f.cublasLtMatmulAlgoGetHeuristic, "cublasLtMatmulAlgoGetHeuristic");
  find(library, f.cublasLtMatmulAlgoCheck, "cublasLtMatmulAlgoCheck");
  find(library, f.cublasLtMatmul, "cublasLtMatmul");
  return f;
}

}  // namespace

const CublasLtLibrary& CublasLtLibrary::get() {
  static const CublasLtLibrary library = load();
  return library;
}

}  // namespace pllava::cuda
