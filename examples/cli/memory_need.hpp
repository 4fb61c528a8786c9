// How much memory a run takes.
#pragma once

#include <cstdint>

#include "pllava/core/dtype.hpp"
#include "pllava/models/model_config.hpp"
#include "pllava/quantization/quantize.hpp"

namespace cli {

/// Bytes.
struct MemoryNeed {
  std::uint64_t weights = 0;
  std::uint64_t kv_per_clip = 0;     ///< keys and values of one video
  std::uint64_t kv_per_context = 0;  ///< of a full context
  std::uint64_t scratch = 0;         ///< allowance, see memory_need

  /// For a video and a conversation as long as the context allows.
  std::uint64_t total() const noexcept { return weights + kv_per_context + scratch; }
};

/// What a run with weights of this type needs on the CPU: weights, keys and values but for padding,
/// and an allowance for scratch. That is the pixels twice, the features before and after the
/// projector, the video's embeddings, and a chunk of 1,024 rows at the widest place of the language
/// model twice: its values, and their copy for the product.
MemoryNeed memory_need(const pllava::ModelConfig& config, pllava::DType dtype,
                       const pllava::QuantizeOptions& quantize = {});

}  // namespace cli
