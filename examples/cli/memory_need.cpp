#include "memory_need.hpp"

#include <algorithm>
#include <string>

#include "pllava/models/tensor_table.hpp"

namespace cli {

using pllava::Index;

MemoryNeed memory_need(const pllava::ModelConfig& config, pllava::DType dtype,
                       const pllava::QuantizeOptions& quantize) {
  const Index element = pllava::size_of(dtype), f32 = pllava::size_of(pllava::DType::f32);
  const pllava::VisionConfig& vision = config.vision;
  const pllava::TextConfig& text = config.text;

  double bits = 0;
  const auto add = [&](const std::string& name, const pllava::Shape& shape) {
    const auto count = static_cast<double>(shape.count());
    bits += count * bits_per_weight(pllava::stored_quantization(name, shape, quantize),
                            shape.rank() > 1 ? dtype : pllava::DType::f32);
  };
  for (const pllava::TensorSpec& spec : pllava::model_tensors(config))
    if (spec.presence == pllava::Presence::required) add(spec.name, spec.shape);
  if (text.tied_embeddings)  // as table and as matrix
    add("language_model.lm_head.weight", {text.vocab, text.width});
  const auto weights = static_cast<Index>(bits / 8);

  const Index kv_per_row = 2 * text.layers * text.kv_heads * text.head_dim * element;
  const Index T = config.frames, S = vision.image_size, H = config.projector.output;
  const Index video_rows = config.pool.output.count();
  const Index pixels = T * 3 * S * S * f32;
  const Index features = T * vision.patches() * (vision.width + H) * element;
  const Index embeddings = video_rows * H * f32;
  const Index chunk = std::min<Index>(1024, text.context);
  const Index widest = text.width + text.ffn + text.head_dim * (2 * text.heads + 2 * text.kv_heads);

  const auto bytes = [](Index n) { return static_cast<std::uint64_t>(n); };
  return {.weights = bytes(weights),
          .kv_per_clip = bytes(kv_per_row * video_rows),
          .kv_per_context = bytes(kv_per_row * text.context),
          .scratch = bytes(2 * pixels + features + embeddings + 2 * chunk * widest * element)};
}

}  // namespace cli
