// Device on CUDA: the runtime's memory pool, streams and graphs, and cuBLASLt.
#include "device.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

#include <cublasLt.h>
#include <cuda_runtime.h>

#include "pllava/cuda.hpp"

namespace pllava::cuda {

namespace {

// cuBLASLt scales rows and columns of products of fp8 since CUDA 12.9, on Hopper.
#if CUBLAS_VERSION >= 120900
constexpr bool kScalesRows = true;
#else
constexpr bool kScalesRows = false;
#endif

constexpr std::size_t kWorkspace = std::size_t{32} << 20;
constexpr Index kStaging = Index{8} << 20;  // bytes of one of two pinned buffers

void check_blas(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) throw Error(call, cublasLtGetStatusName(status));
}

cudaStream_t native(kernels::Stream stream) {
  return static_cast<cudaStream_t>(stream);
}

cudaDataType_t native(kernels::Type type) {
  switch (type) {
    case kernels::Type::f16: return CUDA_R_16F;
    case kernels::Type::bf16: return CUDA_R_16BF;
    case kernels::Type::f32: return CUDA_R_32F;
  }
  return CUDA_R_32F;
}

constexpr Index kInvariantRows = 512;  // whose algorithm all products take that are invariant

/// What a plan is made for: types of y, x (and w), sizes; whether there are a bias and scales, add,
/// invariant.
using PlanKey =
    std::tuple<kernels::Type, kernels::Type, Index, Index, Index, Index, bool, bool, bool, bool>;

cudaDataType_t operand_type(const Product& p) {
  return p.x_scales != nullptr ? CUDA_R_8F_E4M3 : native(p.x.type);
}

/// A matrix layout of cuBLASLt.
class Layout {
 public:
  Layout(cudaDataType_t type, Index rows, Index columns, Index stride) {
    check_blas(cublasLtMatrixLayoutCreate(&layout_, type, static_cast<std::uint64_t>(rows),
                                          static_cast<std::uint64_t>(columns), stride),
               "cublasLtMatrixLayoutCreate");
  }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  ~Layout() { cublasLtMatrixLayoutDestroy(layout_); }
  cublasLtMatrixLayout_t get() const noexcept { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

/// Column by column, as cuBLASLt counts, a row-major y (rows, out) is yᵀ (out, rows), and
/// yᵀ = W xᵀ with W given as its transpose.
struct Plan {
  explicit Plan(const Product& p)
      : w(operand_type(p), p.in, p.out, p.in),
        x(operand_type(p), p.in, p.rows, p.in),
        y(native(p.y.type), p.out, p.rows, p.stride) {
    check_blas(cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "cublasLtMatmulDescCreate");
    const cublasOperation_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    if (p.bias != nullptr) {
      const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
      const cudaDataType_t type = p.x_scales != nullptr ? CUDA_R_16BF : native(p.y.type);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type);
    }
#if CUBLAS_VERSION >= 120900
    if (p.x_scales != nullptr) {
      const cublasLtMatmulMatrixScale_t of_rows = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
      set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, of_rows);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, of_rows);
    }
#endif
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    cublasLtMatmulDescDestroy(product);
  }

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    check_blas(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof(value)),
               "cublasLtMatmulDescSetAttribute");
  }

  Layout w, x, y;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatmulAlgo_t algorithm = {};
};

}  // namespace

Device::Current::Current(int ordinal) {
  check(cudaGetDevice(&before_), "cudaGetDevice");
  if (before_ != ordinal) check(cudaSetDevice(ordinal), "cudaSetDevice");
}
Device::Current::~Current() {
  int now = before_;
  if (cudaGetDevice(&now) == cudaSuccess && now != before_) cudaSetDevice(before_);
}

struct Device::Libraries {
  explicit Libraries(int device) : ordinal(device) {}
  Libraries(const Libraries&) = delete;
  Libraries& operator=(const Libraries&) = delete;
  ~Libraries() {
    int before = ordinal;
    cudaGetDevice(&before);
    cudaSetDevice(ordinal);
    if (workspace != nullptr) cudaFreeAsync(workspace, stream);
    if (stream != nullptr) cudaStreamSynchronize(stream);
    if (order != nullptr) cudaEventDestroy(order);
    for (int i = 0; i < 2; ++i) {
      if (empty[i] != nullptr) cudaEventDestroy(empty[i]);
      if (staging[i] != nullptr) cudaFreeHost(staging[i]);
    }
    plans.clear();
    if (blas != nullptr) cublasLtDestroy(blas);
    if (stream != nullptr) cudaStreamDestroy(stream);
    cudaSetDevice(before);
  }

  int ordinal;
  cudaStream_t stream = nullptr;
  cublasLtHandle_t blas = nullptr;
  void* workspace = nullptr;
  void* staging[2] = {};      // pinned
  cudaEvent_t empty[2] = {};  // the copy from that buffer is over
  int turn = 0;               // the buffer that is filled next
  cudaEvent_t order = nullptr;
  std::map<PlanKey, Plan> plans;

  Plan& plan(const Product& p) {
    const PlanKey key{p.y.type,
                      p.x.type,
                      p.rows,
                      p.out,
                      p.in,
                      p.stride,
                      p.bias != nullptr,
                      p.x_scales != nullptr,
                      p.add,
                      p.invariant};
    const auto [entry, fresh] = plans.try_emplace(key, p);
    if (!fresh) return entry->second;
    try {
      entry->second.algorithm = algorithm(p, entry->second);
    } catch (...) {
      plans.erase(entry);
      throw;
    }
    return entry->second;
  }

  /// The fastest by cuBLASLt's own estimate. An invariant product has that of kInvariantRows rows,
  /// without parts of a sum that are added up later: the tiles, and with them the order of each
  /// sum, are then the same for any number of rows.
  cublasLtMatmulAlgo_t algorithm(const Product& p, const Plan& plan) {
    cublasLtMatmulHeuristicResult_t result = {};
    if (p.invariant && p.rows != kInvariantRows) {
      Product wide = p;
      wide.rows = kInvariantRows;
      const cublasLtMatmulAlgo_t chosen = this->plan(wide).algorithm;
      check_blas(cublasLtMatmulAlgoCheck(blas, plan.product, plan.w.get(), plan.x.get(),
                                         plan.y.get(), plan.y.get(), &chosen, &result),
                 "cublasLtMatmulAlgoCheck");
      return chosen;
    }
    cublasLtMatmulPreference_t preference = nullptr;
    check_blas(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &kWorkspace, sizeof(kWorkspace));
    if (p.invariant) {
      const std::uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE;
      cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                           &none, sizeof(none));
    }
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(blas, plan.product, plan.w.get(), plan.x.get(), plan.y.get(),
                                       plan.y.get(), preference, 1, &result, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    if (status != CUBLAS_STATUS_SUCCESS || found == 0)
      throw Error("cublasLtMatmulAlgoGetHeuristic", "no algorithm for (" + std::to_string(p.rows) +
                                                        ", " + std::to_string(p.in) + ") times (" +
                                                        std::to_string(p.out) + ", " +
                                                        std::to_string(p.in) + ") transposed");
    return result.algo;
  }
};

void Device::check(int status, const char* call) {
  if (status == 0) return;
  const auto error = static_cast<cudaError_t>(status);
  throw Error(call, std::string(cudaGetErrorName(error)) + ", " + cudaGetErrorString(error));
}

Device::Device(int ordinal) : ordinal_(ordinal), libraries_(std::make_unique<Libraries>(ordinal)) {
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (ordinal < 0 || ordinal >= count)
    throw Error("cudaSetDevice", "there is no device " + std::to_string(ordinal) + ", there are " +
                                     std::to_string(count));
  const Current current(ordinal);
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal),
        "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, ordinal),
        "cudaDeviceGetAttribute");
  if (major < 8)
    throw Error("cudaSetDevice", "device " + std::to_string(ordinal) +
                                     " is of compute capability " + std::to_string(major) + "." +
                                     std::to_string(minor) + ", the kernels need 8.0 or newer");
  multiplies_fp8_ = kScalesRows && major == 9 && minor == 0;
  cudaMemPool_t pool = nullptr;
  check(cudaDeviceGetDefaultMemPool(&pool, ordinal), "cudaDeviceGetDefaultMemPool");
  std::uint64_t keep = UINT64_MAX;  // what is freed stays in the pool for the next request
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep),
        "cudaMemPoolSetAttribute");
  Libraries& l = *libraries_;
  check(cudaStreamCreateWithFlags(&l.stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  stream_ = l.stream;
  check_blas(cublasLtCreate(&l.blas), "cublasLtCreate");
  check(cudaEventCreateWithFlags(&l.order, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  l.workspace = allocate(static_cast<Index>(kWorkspace), "the workspace of cuBLASLt");
  for (int i = 0; i < 2; ++i) {
    check(cudaMallocHost(&l.staging[i], static_cast<std::size_t>(kStaging)), "cudaMallocHost");
    check(cudaEventCreateWithFlags(&l.empty[i], cudaEventDisableTiming),
          "cudaEventCreateWithFlags");
  }
}

Device::~Device() = default;

void* Device::allocate(Index bytes, const char* what_for) {
  const Current current(ordinal_);
  void* memory = nullptr;
  const cudaError_t status =
      cudaMallocAsync(&memory, static_cast<std::size_t>(bytes), native(stream_));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // so that later calls do not report it
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw out_of_memory(what_for, bytes, free, total);
  }
  check(status, "cudaMallocAsync");
  return memory;
}

void Device::release(void* memory) noexcept {
  if (memory != nullptr) cudaFreeAsync(memory, native(stream_));
}

void Device::to_device(void* dst, Index bytes, const Fill& fill) {
  const Current current(ordinal_);
  Libraries& l = *libraries_;
  for (Index begin = 0; begin < bytes; begin += kStaging) {
    const Index size = std::min(bytes - begin, kStaging);
    const int turn = l.turn;
    check(cudaEventSynchronize(l.empty[turn]), "cudaEventSynchronize");
    fill(static_cast<std::byte*>(l.staging[turn]), begin, size);
    check(cudaMemcpyAsync(static_cast<std::byte*>(dst) + begin, l.staging[turn],
                          static_cast<std::size_t>(size), cudaMemcpyHostToDevice, native(stream_)),
          "cudaMemcpyAsync to the device");
    check(cudaEventRecord(l.empty[turn], native(stream_)), "cudaEventRecord");
    l.turn = 1 - turn;  // one buffer is filled while the other is sent, from call to call too
  }
}

void Device::to_host(void* dst, const void* src, Index bytes) {
  const Current current(ordinal_);
  check(cudaMemcpyAsync(dst, src, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost,
                        native(stream_)),
        "cudaMemcpyAsync to the host");
  synchronize();
}

void Device::copy(void* dst, const void* src, Index bytes) {
  check(cudaMemcpyAsync(dst, src, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice,
                        native(stream_)),
        "cudaMemcpyAsync on the device");
}

void Device::copy_rows(void* dst, const void* src, Index stride, Index row, Index rows) {
  const auto width = static_cast<std::size_t>(row);
  check(
      cudaMemcpy2DAsync(dst, width, src, static_cast<std::size_t>(stride), width,
                        static_cast<std::size_t>(rows), cudaMemcpyDeviceToDevice, native(stream_)),
      "cudaMemcpy2DAsync on the device");
}

void Device::order(kernels::Stream first, kernels::Stream second) {
  const Current current(ordinal_);
  check(cudaEventRecord(libraries_->order, native(first)), "cudaEventRecord");
  check(cudaStreamWaitEvent(native(second), libraries_->order, 0), "cudaStreamWaitEvent");
}

int Device::location(const void* memory) const {
  cudaPointerAttributes attributes = {};
  check(cudaPointerGetAttributes(&attributes, memory), "cudaPointerGetAttributes");
  switch (attributes.type) {
    case cudaMemoryTypeDevice: return attributes.device;
    case cudaMemoryTypeManaged: return ordinal_;
    default: return -1;
  }
}

void Device::synchronize() {
  const Current current(ordinal_);
  check(cudaStreamSynchronize(native(stream_)), "cudaStreamSynchronize");
}

void Device::multiply(const Product& p) {
  Plan& plan = libraries_->plan(p);
  if (p.bias != nullptr) plan.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
  if (p.x_scales != nullptr) {
    plan.set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, p.w_scales);
    plan.set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, p.x_scales);
  }
  const float alpha = 1, beta = p.add ? 1.0f : 0.0f;
  check_blas(
      cublasLtMatmul(libraries_->blas, plan.product, &alpha, p.w.data, plan.w.get(), p.x.data,
                     plan.x.get(), &beta, p.y.data, plan.y.get(), p.y.data, plan.y.get(),
                     &plan.algorithm, libraries_->workspace, kWorkspace, native(stream_)),
      "cublasLtMatmul");
}

Graph Device::record(const std::function<void()>& body) {
  const Current current(ordinal_);
  check(cudaStreamBeginCapture(native(stream_), cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
  cudaGraph_t graph = nullptr;
  try {
    body();
  } catch (...) {
    cudaStreamEndCapture(native(stream_), &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(native(stream_), &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "cudaGraphInstantiate");
  return {executable, [](void* e) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(e)); }};
}

void Device::replay(const Graph& graph) {
  const Current current(ordinal_);
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph.get()), native(stream_)),
        "cudaGraphLaunch");
}

}  // namespace pllava::cuda
