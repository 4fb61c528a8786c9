#include "memory_need.hpp"

#include <algorithm>
#include <string>

#include "pllava/core/backend.hpp"
#include "pllava/cpu/backend.hpp"

namespace cli {

using pllava::Index;

bool has_vision_tower(const pllava::TensorTable& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const pllava::TensorSpec& spec) {
    return spec.name.starts_with("vision_tower.");
  });
}

MemoryNeed memory_need(const pllava::ModelConfig& config, const pllava::TensorTable& tensors,
                       pllava::DType dtype, const pllava::QuantizeOptions& quantize) {
  const Index element = pllava::size_of(dtype), f32 = pllava::size_of(pllava::DType::f32);
  const pllava::VisionConfig& vision = config.vision;
  const pllava::TextConfig& text = config.text;

  double bits = 0;
  const auto add = [&](const pllava::TensorSpec& spec, const pllava::Quantization& format) {
    bits += static_cast<double>(spec.shape.count()) *
            bits_per_weight(format, spec.shape.rank() > 1 ? dtype : pllava::DType::f32);
  };
  for (const pllava::TensorSpec& spec : tensors) {
    if (spec.presence != pllava::Presence::required) continue;
    add(spec, stored_quantization(spec, quantize));
    if (spec.is_lookup_table && spec.group != pllava::QuantizationGroup::none)
      add(spec, quantization_of(spec, quantize));  // tied embeddings: also stored as lm_head
  }
  const auto weights = static_cast<Index>(bits / 8);

  const Index kv_bytes_per_token = 2 * text.layers * text.kv_heads * text.head_dim * element;
  const bool has_vision = has_vision_tower(tensors);
  const Index T = has_vision ? config.frames : 0, S = vision.image_size,
              H = config.projector.output;
  const Index video_tokens = has_vision ? config.video_rows() : 0;
  const Index pixels = T * 3 * S * S * f32;
  const Index features = T * vision.patches() * (vision.width + H) * element;
  const Index embeddings = video_tokens * H * f32;
  const Index chunk = std::min(pllava::max_batch_rows<pllava::cpu::Backend>(), text.context);
  const Index activations_per_token =
      text.width + text.ffn + text.head_dim * (2 * text.heads + 2 * text.kv_heads);

  const auto bytes = [](Index n) { return static_cast<std::uint64_t>(n); };
  return {.weights = bytes(weights),
          .kv_per_clip = bytes(kv_bytes_per_token * video_tokens),
          .kv_per_context = bytes(kv_bytes_per_token * text.context),
          .scratch = bytes(2 * pixels + features + embeddings +
                           2 * chunk * activations_per_token * element)};
}

}  // namespace cli
