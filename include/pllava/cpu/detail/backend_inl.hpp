// Construction of the CPU backend.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "pllava/cpu/backend.hpp"
#include "pllava/cpu/detail/rows.hpp"

namespace pllava::cpu {

PLLAVA_INLINE Backend::Backend(const BackendOptions& options)
    : Backend(options, std::make_shared<ThreadPool>(options.threads)) {}

PLLAVA_INLINE Backend::Backend(const BackendOptions& options, std::shared_ptr<ThreadPool> pool)
    : options_(options),
      dtype_(options.dtype.value_or(DType::f32)),
      kernels_(&kernels(detect_isa(options.isa))),
      pool_(std::move(pool)) {
  if (dtype_ != DType::f32 && dtype_ != DType::bf16)
    throw ArgumentError("the CPU backend computes in f32 or bf16, not in " +
                        std::string(name_of(dtype_)));
}

PLLAVA_INLINE Backend Backend::fork() const {
  BackendOptions options = options_;
  options.packed = nullptr;
  return Backend(options, pool_);
}

PLLAVA_INLINE void Backend::copy(void* dst, const void* src, Index bytes) {
  detail::copy_bytes(dst, src, bytes);
}

}  // namespace pllava::cpu
