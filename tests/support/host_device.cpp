// cuda::Device on the host: malloc'ed memory, GEMM in plain loops, and graphs as lists of
// functions. With the kernels on the executor (simt.hpp), tests can run the whole CUDA backend
// without a GPU.
#include "support/host_device.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "device.hpp"
#include "pllava/core/float8.hpp"
#include "pllava/cuda.hpp"
#include "support/simt.hpp"

namespace pllava::cuda {

namespace {

DType dtype_of(kernels::Type type) {
  switch (type) {
    case kernels::Type::f16: return DType::f16;
    case kernels::Type::bf16: return DType::bf16;
    case kernels::Type::f32: return DType::f32;
  }
  return DType::f32;
}

float at(kernels::Operand x, Index i) {
  return load_float(x.data, dtype_of(x.type), i);
}

using Work = std::vector<std::function<void()>>;

/// Runs the job now, or while recording when the graph is replayed.
template <class Job>
void enqueue(const Job& job) {
  if (simt::recording == nullptr)
    job();
  else
    simt::recording->push_back(job);
}

/// The allocations of "device" memory: first byte to end.
std::map<const std::byte*, const std::byte*>& allocations() {
  static std::map<const std::byte*, const std::byte*> all;
  return all;
}

float e4m3_at(kernels::Operand x, Index i) {
  return e4m3_to_float(static_cast<const std::uint8_t*>(x.data)[i]);
}

void run_gemm(const Gemm& call) {
  const bool fp8 = call.x_scales != nullptr;
  const DType y_type = dtype_of(call.y.type), bias_type = fp8 ? DType::bf16 : y_type;
  const auto value_at = [&](kernels::Operand x, Index i) { return fp8 ? e4m3_at(x, i) : at(x, i); };
  std::vector<float> row(static_cast<std::size_t>(call.in));
  for (Index n = 0; n < call.rows; ++n) {
    for (Index i = 0; i < call.in; ++i)
      row[static_cast<std::size_t>(i)] = value_at(call.x, n * call.in + i);
    for (Index o = 0; o < call.out; ++o) {
      const Index index = n * call.y_stride + o;
      float y = call.accumulate ? at(call.y, index) : 0.0f;
      if (call.bias != nullptr) y += load_float(call.bias, bias_type, o);
      float dot = 0;
      for (Index i = 0; i < call.in; ++i)
        dot += row[static_cast<std::size_t>(i)] * value_at(call.w, o * call.in + i);
      if (fp8) dot *= call.x_scales[n] * call.w_scales[o];
      store_float(call.y.data, y_type, index, y + dot);
    }
  }
}

}  // namespace

struct Device::Resources {};

Device::Current::Current(int ordinal)
    : previous_(std::exchange(HostDevice::instance().current, ordinal)) {}
Device::Current::~Current() {
  HostDevice::instance().current = previous_;
}

HostDevice& HostDevice::instance() {
  static HostDevice device;
  return device;
}

void Device::check(int status, const char* call) {
  if (status != 0) throw Error(call, "status " + std::to_string(status));
}

Device::Device(int ordinal) : ordinal_(ordinal) {
  if (ordinal != 0)
    throw Error("cudaSetDevice", "there is no device " + std::to_string(ordinal) + ", there are 1");
  supports_fp8_gemm_ = HostDevice::instance().supports_fp8_gemm;
}
Device::~Device() = default;

void* Device::allocate(Index bytes, const char* purpose) {
  HostDevice& host = HostDevice::instance();
  const auto max_bytes = static_cast<std::uint64_t>(host.max_bytes);
  if (bytes > host.max_bytes) throw out_of_memory(purpose, bytes, max_bytes, max_bytes);
  void* const memory = std::malloc(static_cast<std::size_t>(bytes));
  if (memory == nullptr) throw out_of_memory(purpose, bytes, 0, max_bytes);
  std::memset(memory, 0xff,
              static_cast<std::size_t>(bytes));  // NaN, so that reads of uninitialized memory show
  ++host.allocations;
  ++host.live;
  const auto* begin = static_cast<const std::byte*>(memory);
  allocations()[begin] = begin + bytes;
  return memory;
}
void Device::release(void* memory) noexcept {
  allocations().erase(static_cast<const std::byte*>(memory));
  --HostDevice::instance().live;
  std::free(memory);
}

void Device::to_device(void* dst, Index bytes, const Fill& fill) {
  constexpr Index kChunk = 256;  // the smallest that Device::to_device() allows
  for (Index begin = 0; begin < bytes; begin += kChunk)
    fill(static_cast<std::byte*>(dst) + begin, begin, std::min(bytes - begin, kChunk));
}
void Device::to_host(void* dst, const void* src, Index bytes) {
  ++HostDevice::instance().downloads;
  std::memcpy(dst, src, static_cast<std::size_t>(bytes));
}
void Device::copy(void* dst, const void* src, Index bytes) {
  enqueue([=] { std::memcpy(dst, src, static_cast<std::size_t>(bytes)); });
}
void Device::copy_rows(void* dst, const void* src, Index stride, Index row_bytes, Index rows) {
  for (Index y = 0; y < rows; ++y)
    copy(static_cast<std::byte*>(dst) + y * row_bytes,
         static_cast<const std::byte*>(src) + y * stride, row_bytes);
}
void Device::synchronize() {}

void Device::wait_for(kernels::Stream waiting, kernels::Stream signaling) {
  HostDevice::instance().waits.emplace_back(waiting, signaling);
}
int Device::device_of(const void* memory) const {
  const auto* byte = static_cast<const std::byte*>(memory);
  const auto next = allocations().upper_bound(byte);
  const bool found = next != allocations().begin() && byte < std::prev(next)->second;
  return found ? HostDevice::instance().memory_device : -1;
}

void Device::gemm(const Gemm& call) {
  HostDevice::instance().last_gemm_device = HostDevice::instance().current;
  enqueue([call] { run_gemm(call); });
}

Graph Device::record(const std::function<void()>& body) {
  const auto work = std::make_shared<Work>();
  simt::recording = work.get();
  try {
    body();
  } catch (...) {
    simt::recording = nullptr;
    throw;
  }
  simt::recording = nullptr;
  HostDevice& host = HostDevice::instance();
  ++host.records;
  host.recorded_work += static_cast<std::int64_t>(work->size());
  return work;
}
void Device::replay(const Graph& graph) {
  ++HostDevice::instance().replays;
  for (const auto& job : *static_cast<const Work*>(graph.get())) job();
}

}  // namespace pllava::cuda
