// An estimate of the memory that a run needs.
#pragma once

#include <cstdint>

#include "pllava/core/dtype.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/quantization/quantize.hpp"
#include "pllava/weights/tensor_table.hpp"

namespace cli {

/// Bytes.
struct MemoryNeed {
  std::uint64_t weights = 0;
  std::uint64_t kv_per_clip = 0;     ///< KV cache of one video
  std::uint64_t kv_per_context = 0;  ///< KV cache of a full context
  std::uint64_t scratch = 0;         ///< an estimate, see memory_need

  /// With a KV cache for the whole context.
  std::uint64_t total() const noexcept { return weights + kv_per_context + scratch; }
};

/// Whether tensors of a vision tower are among them.
bool has_vision_tower(const pllava::TensorTable& tensors);

/// Memory of a run on the CPU with these tensors, weights of this type: weights, KV cache without
/// padding, and an estimate of scratch memory. Scratch is two copies of the pixels, the features
/// before and after the projector, the video embeddings, and the activations of a layer for one
/// prefill chunk, twice: the values, and their packed copy for the GEMM. A language model alone has
/// no video.
MemoryNeed memory_need(const pllava::ModelConfig& config, const pllava::TensorTable& tensors,
                       pllava::DType dtype, const pllava::QuantizeOptions& quantize = {});

}  // namespace cli
