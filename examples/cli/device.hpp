// Creates the backend of --device.
#pragma once

#include <memory>
#include <utility>

#include "options.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/error.hpp"
#ifdef PLLAVA_HAS_CUDA
#include "pllava/cuda.hpp"
#endif

namespace cli {

/// Returns make(backend). The backend computes in `dtype`; the CPU backend uses `packed` weights.
/// Throws ArgumentError for a GPU in a program without component cuda, and the errors of the
/// backend and of `make`.
template <class Make>
auto on_device(const Options& o, pllava::DType dtype, const Make& make,
               std::shared_ptr<pllava::cpu::PackedWeights> packed = {}) {
  if (!o.gpu)
    return make(pllava::cpu::Backend(
        {.dtype = dtype, .threads = o.threads, .int8_kv = o.int8_kv, .packed = std::move(packed)}));
#ifdef PLLAVA_HAS_CUDA
  return make(pllava::cuda::Backend(
      {.dtype = dtype, .device = *o.gpu, .int8_kv = o.int8_kv, .deterministic = o.deterministic}));
#else
  throw pllava::ArgumentError(
      "--device cuda: this program was built without component cuda (-DPLLAVA_CUDA=ON)");
#endif
}

}  // namespace cli
