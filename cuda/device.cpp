// Device on CUDA: streams, stream-ordered memory, transfers and graphs of the runtime, and
// cuBLASLt.
#include "device.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include <cuda_runtime.h>

#include "cublas_lt.hpp"
#include "pllava/cuda.hpp"

namespace pllava::cuda {

namespace {

constexpr Index kStagingBytes = Index{8} << 20;  // of each pinned buffer
constexpr int kStagingBuffers = 2;

cudaStream_t native(kernels::Stream stream) {
  return static_cast<cudaStream_t>(stream);
}

}  // namespace

Device::Current::Current(int ordinal) {
  check(cudaGetDevice(&previous_), "cudaGetDevice");
  if (previous_ != ordinal) check(cudaSetDevice(ordinal), "cudaSetDevice");
}
Device::Current::~Current() {
  int now = previous_;
  if (cudaGetDevice(&now) == cudaSuccess && now != previous_) cudaSetDevice(previous_);
}

struct Device::Resources {
  explicit Resources(int device) : ordinal(device) {}
  Resources(const Resources&) = delete;
  Resources& operator=(const Resources&) = delete;
  ~Resources() {
    int previous = ordinal;
    cudaGetDevice(&previous);
    cudaSetDevice(ordinal);
    if (workspace != nullptr) cudaFreeAsync(workspace, stream);
    if (stream != nullptr) cudaStreamSynchronize(stream);
    if (order != nullptr) cudaEventDestroy(order);
    for (int i = 0; i < kStagingBuffers; ++i) {
      if (transferred[i] != nullptr) cudaEventDestroy(transferred[i]);
      if (staging[i] != nullptr) cudaFreeHost(staging[i]);
    }
    blas.reset();
    if (stream != nullptr) cudaStreamDestroy(stream);
    cudaSetDevice(previous);
  }

  int ordinal;
  cudaStream_t stream = nullptr;
  std::optional<CublasLt> blas;
  void* workspace = nullptr;                      // of cuBLASLt
  void* staging[kStagingBuffers] = {};            // pinned
  cudaEvent_t transferred[kStagingBuffers] = {};  // the last transfer from the buffer has ended
  int next_staging = 0;                           // the buffer that is filled next
  cudaEvent_t order = nullptr;                    // of wait_for()
};

void Device::check(int status, const char* call) {
  if (status == 0) return;
  const auto error = static_cast<cudaError_t>(status);
  throw Error(call, std::string(cudaGetErrorName(error)) + ", " + cudaGetErrorString(error));
}

Device::Device(int ordinal) : ordinal_(ordinal), resources_(std::make_unique<Resources>(ordinal)) {
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
    throw Error("cudaSetDevice", "device " + std::to_string(ordinal) + " has compute capability " +
                                     std::to_string(major) + "." + std::to_string(minor) +
                                     ", the kernels need 8.0 or newer");
  supports_fp8_gemm_ = CublasLt::kHasRowScales && major == 9 && minor == 0;
  cudaMemPool_t pool = nullptr;
  check(cudaDeviceGetDefaultMemPool(&pool, ordinal), "cudaDeviceGetDefaultMemPool");
  std::uint64_t keep = UINT64_MAX;  // freed memory stays in the pool
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep),
        "cudaMemPoolSetAttribute");
  Resources& r = *resources_;
  check(cudaStreamCreateWithFlags(&r.stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  stream_ = r.stream;
  r.blas.emplace();
  check(cudaEventCreateWithFlags(&r.order, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  r.workspace =
      allocate(static_cast<Index>(CublasLt::kWorkspaceBytes), "the workspace of cuBLASLt");
  for (int i = 0; i < kStagingBuffers; ++i) {
    check(cudaMallocHost(&r.staging[i], static_cast<std::size_t>(kStagingBytes)), "cudaMallocHost");
    check(cudaEventCreateWithFlags(&r.transferred[i], cudaEventDisableTiming),
          "cudaEventCreateWithFlags");
  }
}

Device::~Device() = default;

void* Device::allocate(Index bytes, const char* purpose) {
  const Current current(ordinal_);
  void* memory = nullptr;
  const cudaError_t status =
      cudaMallocAsync(&memory, static_cast<std::size_t>(bytes), native(stream_));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // resets the error
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw out_of_memory(purpose, bytes, free, total);
  }
  check(status, "cudaMallocAsync");
  return memory;
}

void Device::release(void* memory) noexcept {
  if (memory != nullptr) cudaFreeAsync(memory, native(stream_));
}

void Device::to_device(void* dst, Index bytes, const Fill& fill) {
  const Current current(ordinal_);
  Resources& r = *resources_;
  for (Index begin = 0; begin < bytes; begin += kStagingBytes) {
    const Index size = std::min(bytes - begin, kStagingBytes);
    const int buffer = r.next_staging;
    check(cudaEventSynchronize(r.transferred[buffer]), "cudaEventSynchronize");
    fill(static_cast<std::byte*>(r.staging[buffer]), begin, size);
    check(cudaMemcpyAsync(static_cast<std::byte*>(dst) + begin, r.staging[buffer],
                          static_cast<std::size_t>(size), cudaMemcpyHostToDevice, native(stream_)),
          "cudaMemcpyAsync to the device");
    check(cudaEventRecord(r.transferred[buffer], native(stream_)), "cudaEventRecord");
    r.next_staging = (buffer + 1) % kStagingBuffers;  // fill it while this one is transferred
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

void Device::copy_rows(void* dst, const void* src, Index stride, Index row_bytes, Index rows) {
  const auto width = static_cast<std::size_t>(row_bytes);
  check(
      cudaMemcpy2DAsync(dst, width, src, static_cast<std::size_t>(stride), width,
                        static_cast<std::size_t>(rows), cudaMemcpyDeviceToDevice, native(stream_)),
      "cudaMemcpy2DAsync on the device");
}

void Device::wait_for(kernels::Stream waiting, kernels::Stream signaling) {
  const Current current(ordinal_);
  check(cudaEventRecord(resources_->order, native(signaling)), "cudaEventRecord");
  check(cudaStreamWaitEvent(native(waiting), resources_->order, 0), "cudaStreamWaitEvent");
}

int Device::device_of(const void* memory) const {
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

void Device::gemm(const Gemm& call) {
  resources_->blas->gemm(call, resources_->workspace, native(stream_));
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
