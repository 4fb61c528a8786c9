// Construction, memory and transfers of the CUDA backend.
#include <memory>
#include <string>
#include <utility>

#include "device_memory.hpp"
#include "pllava/cuda.hpp"
#include "step.hpp"

namespace pllava::cuda {

namespace {

constexpr Index kScratchAlignment = 256;  // bytes, as of cudaMalloc
constexpr Index kScratchBlockBytes = Index{32} << 20;

}  // namespace

Backend::Backend(const BackendOptions& options)
    : Backend(options, std::make_shared<Device>(options.device)) {}

Backend::Backend(const BackendOptions& options, std::shared_ptr<Device> device)
    : options_(options),
      device_(std::move(device)),
      scratch_(std::make_unique<StackArena>(
          kScratchAlignment, kScratchBlockBytes,
          [device = device_](Index bytes) { return device_memory(device, bytes, "scratch"); })),
      graphs_(std::make_unique<Graphs>()),
      block_counter_(device_memory(device_, sizeof(unsigned), "a counter")) {
  if (options.dtype != DType::f32 && options.dtype != DType::f16 && options.dtype != DType::bf16)
    throw ArgumentError("the CUDA backend computes in f32, f16 or bf16, not in " +
                        std::string(name_of(options.dtype)));
  const unsigned zero = 0;
  device_->to_device(block_counter_.get(), &zero, sizeof zero);
}

Backend::Backend(Backend&&) noexcept = default;
Backend& Backend::operator=(Backend&&) noexcept = default;
Backend::~Backend() = default;

Backend Backend::fork() const {
  return Backend(options_, std::make_shared<Device>(device_->ordinal()));
}

View Backend::scratch(const Shape& shape, DType dtype) {
  return {scratch_->allocate(shape.count() * size_of(dtype)), dtype, shape};
}

std::shared_ptr<void> Backend::allocate(Index bytes) {
  return device_memory(device_, bytes, "a tensor");
}

void Backend::upload(View dst, const void* src) {
  if (dst.bytes() > 0) device_->to_device(dst.data, src, dst.bytes());
}

void Backend::download(void* dst, ConstView src) {
  if (src.bytes() > 0) device_->to_host(dst, src.data, src.bytes());
}

void Backend::copy(View dst, ConstView src) {
  add_to_step_key("copy", dst, src);
  enqueue("copy", [&] {
    if (dst.bytes() > 0) device_->copy(dst.data, src.data, dst.bytes());
    return 0;
  });
}

void Backend::synchronize() {
  device_->synchronize();
}

}  // namespace pllava::cuda
