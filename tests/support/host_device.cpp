// Device without a GPU: host memory, products as plain loops, work that is recorded as a list of
// functions. Linked with the backend and with the kernels as the executor runs them (simt.hpp), it
// lets the tests run the whole CUDA backend.
#include "support/host_device.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
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

/// Does the work now, or when its record is replayed.
template <class Job>
void enqueue(const Job& job) {
  if (simt::recording == nullptr)
    job();
  else
    simt::recording->push_back(job);
}

/// What is in "device" memory: where each allocation begins and ends.
std::map<const std::byte*, const std::byte*>& blocks() {
  static std::map<const std::byte*, const std::byte*> all;
  return all;
}

float code_at(kernels::Operand x, Index i) {
  return e4m3_to_float(static_cast<const std::uint8_t*>(x.data)[i]);
}

void multiply_rows(const Product& p) {
  const bool fp8 = p.x_scales != nullptr;
  const DType bias_type = fp8 ? DType::bf16 : dtype_of(p.y.type);
  const auto number = [&](kernels::Operand x, Index i) { return fp8 ? code_at(x, i) : at(x, i); };
  std::vector<float> row(static_cast<std::size_t>(p.in));
  for (Index n = 0; n < p.rows; ++n) {
    for (Index i = 0; i < p.in; ++i) row[static_cast<std::size_t>(i)] = number(p.x, n * p.in + i);
    for (Index o = 0; o < p.out; ++o) {
      float sum = p.add ? at(p.y, n * p.stride + o) : 0.0f;
      if (p.bias != nullptr) sum += load_float(p.bias, bias_type, o);
      float product = 0;
      for (Index i = 0; i < p.in; ++i)
        product += row[static_cast<std::size_t>(i)] * number(p.w, o * p.in + i);
      if (fp8) product *= p.x_scales[n] * p.w_scales[o];
      store_float(p.y.data, dtype_of(p.y.type), n * p.stride + o, sum + product);
    }
  }
}

}  // namespace

struct Device::Libraries {};

Device::Current::Current(int ordinal)
    : before_(std::exchange(HostDevice::instance().current, ordinal)) {}
Device::Current::~Current() {
  HostDevice::instance().current = before_;
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
  multiplies_fp8_ = HostDevice::instance().multiplies_fp8;
}
Device::~Device() = default;

void* Device::allocate(Index bytes, const char* what_for) {
  HostDevice& host = HostDevice::instance();
  const auto most = static_cast<std::uint64_t>(host.most_bytes);
  if (bytes > host.most_bytes) throw out_of_memory(what_for, bytes, most, most);
  void* const memory = std::malloc(static_cast<std::size_t>(bytes));
  if (memory == nullptr) throw out_of_memory(what_for, bytes, 0, most);
  std::memset(memory, 0xff, static_cast<std::size_t>(bytes));  // NaN: nothing may be taken for 0
  ++host.allocations;
  ++host.living;
  const auto* begin = static_cast<const std::byte*>(memory);
  blocks()[begin] = begin + bytes;
  return memory;
}
void Device::release(void* memory) noexcept {
  blocks().erase(static_cast<const std::byte*>(memory));
  --HostDevice::instance().living;
  std::free(memory);
}

void Device::to_device(void* dst, Index bytes, const Fill& fill) {
  constexpr Index kPiece = 256;  // the smallest that the backend must cope with
  for (Index begin = 0; begin < bytes; begin += kPiece)
    fill(static_cast<std::byte*>(dst) + begin, begin, std::min(bytes - begin, kPiece));
}
void Device::to_host(void* dst, const void* src, Index bytes) {
  ++HostDevice::instance().downloads;
  std::memcpy(dst, src, static_cast<std::size_t>(bytes));
}
void Device::copy(void* dst, const void* src, Index bytes) {
  enqueue([=] { std::memcpy(dst, src, static_cast<std::size_t>(bytes)); });
}
void Device::copy_rows(void* dst, const void* src, Index stride, Index row, Index rows) {
  for (Index y = 0; y < rows; ++y)
    copy(static_cast<std::byte*>(dst) + y * row, static_cast<const std::byte*>(src) + y * stride,
         row);
}
void Device::synchronize() {}

void Device::order(kernels::Stream first, kernels::Stream second) {
  HostDevice::instance().orders.emplace_back(first, second);
}
int Device::location(const void* memory) const {
  const auto* at = static_cast<const std::byte*>(memory);
  const auto next = blocks().upper_bound(at);
  const bool ours = next != blocks().begin() && at < std::prev(next)->second;
  return ours ? HostDevice::instance().memory_of : -1;
}

void Device::multiply(const Product& p) {
  HostDevice::instance().multiplied_on = HostDevice::instance().current;
  enqueue([p] { multiply_rows(p); });
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
