// GEMM by cuBLASLt.
#include "cublas_lt.hpp"

#include <cstdint>
#include <string>
#include <utility>

#include "cublas_lt_library.hpp"
#include "pllava/cuda.hpp"

namespace pllava::cuda {

namespace {

const CublasLtLibrary& lt() {
  return CublasLtLibrary::get();
}

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) throw Error(call, lt().cublasLtGetStatusName(status));
}

cudaDataType_t data_type(kernels::Type type) {
  switch (type) {
    case kernels::Type::f16: return CUDA_R_16F;
    case kernels::Type::bf16: return CUDA_R_16BF;
    case kernels::Type::f32: return CUDA_R_32F;
  }
  return CUDA_R_32F;
}

/// Of x and w.
cudaDataType_t input_type(const Gemm& call) {
  return call.x_scales != nullptr ? CUDA_R_8F_E4M3 : data_type(call.x.type);
}

/// Batch-invariant GEMMs use the algorithm for this number of rows.
constexpr Index kInvariantRows = 512;

class Layout {
 public:
  Layout(cudaDataType_t type, Index rows, Index columns, Index stride) {
    check(lt().cublasLtMatrixLayoutCreate(&layout_, type, static_cast<std::uint64_t>(rows),
                                          static_cast<std::uint64_t>(columns), stride),
          "cublasLtMatrixLayoutCreate");
  }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  ~Layout() { lt().cublasLtMatrixLayoutDestroy(layout_); }
  cublasLtMatrixLayout_t get() const noexcept { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

}  // namespace

/// The descriptors and the algorithm of a GEMM. cuBLASLt is column-major, so it computes
/// y^T (out, rows) = W x^T, where W is given as its transpose.
struct CublasLt::Plan {
  explicit Plan(const Gemm& call)
      : w(input_type(call), call.in, call.out, call.in),
        x(input_type(call), call.in, call.rows, call.in),
        y(data_type(call.y.type), call.out, call.rows, call.y_stride) {
    check(lt().cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "cublasLtMatmulDescCreate");
    const cublasOperation_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    if (call.bias != nullptr) {
      const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
      const cudaDataType_t type = call.x_scales != nullptr ? CUDA_R_16BF : data_type(call.y.type);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type);
    }
#if CUBLAS_VERSION >= 120900
    if (call.x_scales != nullptr) {
      const cublasLtMatmulMatrixScale_t scale_of_rows = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
      set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, scale_of_rows);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, scale_of_rows);
    }
#endif
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    lt().cublasLtMatmulDescDestroy(description);
  }

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    check(lt().cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof(value)),
          "cublasLtMatmulDescSetAttribute");
  }

  Layout w, x, y;
  cublasLtMatmulDesc_t description = nullptr;
  cublasLtMatmulAlgo_t algorithm = {};
};

CublasLt::CublasLt() {
  check(lt().cublasLtCreate(&handle_), "cublasLtCreate");
}

CublasLt::~CublasLt() {
  plans_.clear();
  lt().cublasLtDestroy(handle_);
}

CublasLt::Plan& CublasLt::plan(const Gemm& call) {
  const PlanKey key{call.y.type,
                    call.x.type,
                    call.rows,
                    call.out,
                    call.in,
                    call.y_stride,
                    call.bias != nullptr,
                    call.x_scales != nullptr,
                    call.accumulate,
                    call.batch_invariant};
  std::unique_ptr<Plan>& entry = plans_[key];
  if (entry != nullptr) return *entry;
  auto plan = std::make_unique<Plan>(call);
  plan->algorithm = choose_algorithm(call, *plan);
  entry = std::move(plan);
  return *entry;
}

/// The fastest algorithm by cuBLASLt's heuristic. A batch-invariant GEMM takes the algorithm for
/// kInvariantRows rows, without split-K reductions: its tiles, and so the order of each sum, are
/// the same for any number of rows.
cublasLtMatmulAlgo_t CublasLt::choose_algorithm(const Gemm& call, const Plan& plan) {
  cublasLtMatmulHeuristicResult_t result = {};
  if (call.batch_invariant && call.rows != kInvariantRows) {
    Gemm invariant = call;
    invariant.rows = kInvariantRows;
    const cublasLtMatmulAlgo_t algorithm = this->plan(invariant).algorithm;
    check(lt().cublasLtMatmulAlgoCheck(handle_, plan.description, plan.w.get(), plan.x.get(),
                                       plan.y.get(), plan.y.get(), &algorithm, &result),
          "cublasLtMatmulAlgoCheck");
    return algorithm;
  }
  cublasLtMatmulPreference_t preference = nullptr;
  check(lt().cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  lt().cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                            &kWorkspaceBytes, sizeof(kWorkspaceBytes));
  if (call.batch_invariant) {
    const std::uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE;
    lt().cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &none, sizeof(none));
  }
  int found = 0;
  const cublasStatus_t status = lt().cublasLtMatmulAlgoGetHeuristic(
      handle_, plan.description, plan.w.get(), plan.x.get(), plan.y.get(), plan.y.get(), preference,
      1, &result, &found);
  lt().cublasLtMatmulPreferenceDestroy(preference);
  if (status != CUBLAS_STATUS_SUCCESS || found == 0) {
    const std::string in = std::to_string(call.in);
    throw Error("cublasLtMatmulAlgoGetHeuristic",
                "no algorithm for (" + std::to_string(call.rows) + ", " + in + ") times (" +
                    std::to_string(call.out) + ", " + in + ") transposed");
  }
  return result.algo;
}

void CublasLt::gemm(const Gemm& call, void* workspace, cudaStream_t stream) {
  Plan& plan = this->plan(call);
  if (call.bias != nullptr) plan.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias);
  if (call.x_scales != nullptr) {
    plan.set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, call.w_scales);
    plan.set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, call.x_scales);
  }
  const float alpha = 1, beta = call.accumulate ? 1.0f : 0.0f;
  check(
      lt().cublasLtMatmul(handle_, plan.description, &alpha, call.w.data, plan.w.get(), call.x.data,
                          plan.x.get(), &beta, call.y.data, plan.y.get(), call.y.data, plan.y.get(),
                          &plan.algorithm, workspace, kWorkspaceBytes, stream),
      "cublasLtMatmul");
}

}  // namespace pllava::cuda
