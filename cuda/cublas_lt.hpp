// GEMM by cuBLASLt.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <tuple>

#include <cublasLt.h>
#include <cuda_runtime.h>

#include "device.hpp"

namespace pllava::cuda {

/// A cuBLASLt handle of the current device, and the algorithms that its GEMMs have chosen.
class CublasLt {
 public:
  static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;
  /// Whether scales of rows and columns of fp8 matrices exist: since CUDA 12.9, on Hopper.
#if CUBLAS_VERSION >= 120900
  static constexpr bool kHasRowScales = true;
#else
  static constexpr bool kHasRowScales = false;
#endif

  /// Throws cuda::Error.
  CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;
  ~CublasLt();

  /// `workspace`: kWorkspaceBytes of device memory. Throws cuda::Error.
  void gemm(const Gemm& call, void* workspace, cudaStream_t stream);

 private:
  struct Plan;
  /// The types of y and x (and w), rows, out, in, y_stride, whether there are a bias and scales,
  /// accumulate, batch_invariant.
  using PlanKey =
      std::tuple<kernels::Type, kernels::Type, Index, Index, Index, Index, bool, bool, bool, bool>;

  Plan& plan(const Gemm& call);
  cublasLtMatmulAlgo_t choose_algorithm(const Gemm& call, const Plan& plan);

  cublasLtHandle_t handle_ = nullptr;
  std::map<PlanKey, std::unique_ptr<Plan>> plans_;
};

}  // namespace pllava::cuda
