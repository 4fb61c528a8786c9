// cuBLASLt is loaded when it is first needed, not when a program starts.
#include "cublas_lt_library.hpp"

#include <fstream>
#include <string>

#include "pllava/cuda.hpp"
#include "support/catch.hpp"

namespace {

/// Whether the library is in the address space of this process.
bool is_mapped() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find("libcublasLt") != std::string::npos) return true;
  return false;
}

TEST_CASE("cuBLASLt is loaded when it is first needed", "[cublas_lt]") {
  CHECK_FALSE(is_mapped());
  try {
    const pllava::cuda::Backend backend;  // needs a driver: the error names CUDA, not cuBLASLt
  } catch (const pllava::cuda::Error& e) {
    CHECK(std::string(e.what()).find("cublasLt") == std::string::npos);
  }
  const auto& library = pllava::cuda::CublasLtLibrary::get();
  CHECK(is_mapped());
  CHECK(std::string(library.cublasLtGetStatusName(CUBLAS_STATUS_NOT_SUPPORTED)) ==
        "CUBLAS_STATUS_NOT_SUPPORTED");
}

}  // namespace
