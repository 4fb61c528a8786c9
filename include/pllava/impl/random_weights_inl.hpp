// Bodies of random_weights.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <new>
#include <system_error>

#include <nlohmann/json.hpp>

#include "pllava/error.hpp"
#include "pllava/impl/lora_inl.hpp"
#include "pllava/impl/safetensors_inl.hpp"
#include "pllava/impl/tensor_table_inl.hpp"
#include "pllava/random_weights.hpp"

namespace pllava {
namespace detail {

/// A bijection of 64-bit integers without visible structure (splitmix64's finaliser).
constexpr std::uint64_t scramble(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

PLLAVA_INLINE bool is_norm_weight(std::string_view name) {
  for (const std::string_view ending : {"norm.weight", "norm1.weight", "norm2.weight"})
    if (name.ends_with(ending)) return true;
  return false;
}

PLLAVA_INLINE float standard_deviation(std::string_view name, const Shape& shape) {
  if (name.ends_with("bias")) return 0.02f;
  if (name.find("embed") != std::string_view::npos && !name.ends_with("patch_embedding.weight"))
    return 0.1f;
  if (shape.rank() < 2) return 0.1f;
  const Index fan_in = shape.count() / std::max<Index>(shape[0], 1);
  return 1.0f / std::sqrt(static_cast<float>(std::max<Index>(fan_in, 1)));
}

PLLAVA_INLINE std::string_view activation_name(Activation a) {
  switch (a) {
    case Activation::quick_gelu: return "quick_gelu";
    case Activation::gelu: return "gelu";
    case Activation::silu: return "silu";
    case Activation::none: break;
  }
  throw ArgumentError("a configuration file has no name for the activation \"none\"");
}

PLLAVA_INLINE nlohmann::json to_json(const ModelConfig& m) {
  const VisionConfig& v = m.vision;
  const TextConfig& t = m.text;
  return {{"architectures", {"LlavaForConditionalGeneration"}},
          {"model_type", "llava"},
          {"image_token_index", m.image_token},
          {"num_frames", m.frames},
          {"pooling_method", "avg"},
          {"pooling_shape", {m.pool.output.t, m.pool.output.h, m.pool.output.w}},
          {"frame_shape", {v.grid_side(), v.grid_side()}},
          {"projector_hidden_act", activation_name(m.projector.activation)},
          {"vision_feature_layer", v.feature_layer},
          {"vision_feature_select_strategy", "default"},
          {"vision_config",
           {{"model_type", "clip_vision_model"},
            {"image_size", v.image_size},
            {"patch_size", v.patch_size},
            {"hidden_size", v.width},
            {"intermediate_size", v.ffn},
            {"num_hidden_layers", v.layers},
            {"num_attention_heads", v.heads},
            {"layer_norm_eps", v.norm_eps},
            {"hidden_act", activation_name(v.activation)}}},
          {"text_config",
           {{"model_type", "llama"},
            {"vocab_size", t.vocab},
            {"hidden_size", t.width},
            {"intermediate_size", t.ffn},
            {"num_hidden_layers", t.layers},
            {"num_attention_heads", t.heads},
            {"num_key_value_heads", t.kv_heads},
            {"head_dim", t.head_dim},
            {"max_position_embeddings", t.context},
            {"rms_norm_eps", t.norm_eps},
            {"rope_theta", t.rope_theta},
            {"hidden_act", activation_name(t.activation)},
            {"tie_word_embeddings", t.tied_embeddings}}}};
}

}  // namespace detail

namespace detail {

// Apart from RandomWeights, so that a program that never asks for random weights compiles no
// virtual function of theirs.
class RandomSource final : public WeightSource {
 public:
  explicit RandomSource(const RandomWeights& weights) : weights_(weights) {}
  HostTensor tensor(const std::string& name, const Shape& shape) const override {
    return weights_.tensor(name, shape);
  }
  bool contains(const std::string&) const override { return true; }

 private:
  RandomWeights weights_;
};

}  // namespace detail

PLLAVA_INLINE WeightScope RandomWeights::scope(std::uint64_t seed, DType dtype) {
  return WeightScope(std::make_shared<const detail::RandomSource>(RandomWeights(seed, dtype)));
}

PLLAVA_INLINE RandomWeights::RandomWeights(std::uint64_t seed, DType dtype)
    : seed_(seed), dtype_(dtype) {
  if (!detail::is_floating(dtype))
    throw ArgumentError("RandomWeights: expected a floating type, got " +
                        std::string(name_of(dtype)));
}

PLLAVA_INLINE HostTensor RandomWeights::tensor(const std::string& name, const Shape& shape) const {
  const Index n = shape.count();
  const auto bytes = static_cast<std::size_t>(n * size_of(dtype_));
  std::shared_ptr<std::byte[]> data;
  try {
    data.reset(new std::byte[bytes]);
  } catch (const std::bad_alloc&) {
    throw OutOfMemoryError("random tensor " + name, bytes);
  }
  std::uint64_t key = 14695981039346656037u;  // FNV-1a of the name
  for (const char c : name) key = (key ^ static_cast<unsigned char>(c)) * 1099511628211u;
  key = detail::scramble(key ^ detail::scramble(seed_ + 0x9e3779b97f4a7c15u));
  const bool ones = detail::is_norm_weight(name);
  const float half_width = detail::standard_deviation(name, shape) * std::sqrt(3.0f);
  const auto fill = [&]<class T>(T* out) {
    for (Index i = 0; i < n; ++i) {
      const std::uint64_t bits =
          detail::scramble(key + static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15u);
      const float unit = static_cast<float>(static_cast<std::int32_t>(bits >> 32)) * 0x1p-31f;
      out[i] = from_float<T>(ones ? 1.0f : unit * half_width);
    }
  };
  switch (dtype_) {
    case DType::bf16: fill(reinterpret_cast<bf16*>(data.get())); break;
    case DType::f16: fill(reinterpret_cast<f16*>(data.get())); break;
    default: fill(reinterpret_cast<float*>(data.get())); break;
  }
  return {dtype_, shape, data.get(), data};
}

PLLAVA_INLINE void write_random_checkpoint(const std::filesystem::path& directory,
                                           const ModelConfig& config, std::uint64_t seed,
                                           DType dtype) {
  const RandomWeights weights(seed, dtype);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error)
    throw LoadError("cannot be created: " + error.message(),
                    {.file = directory.string(), .tensor = {}, .expected = {}, .got = {}});
  const auto write = [&](const char* name, const nlohmann::json& json) {
    const std::string text = json.dump(2) + "\n";
    detail::NewFile file(directory / name);
    file.write(text.data(), text.size());
    file.commit();
  };
  write("config.json", detail::to_json(config));
  write("generation_config.json", {{"bos_token_id", config.bos_token},
                                   {"eos_token_id", config.eos_tokens},
                                   {"pad_token_id", config.pad_token}});
  const Index side = config.vision.image_size;
  write("preprocessor_config.json", {{"image_processor_type", "CLIPImageProcessor"},
                                     {"size", {{"shortest_edge", side}}},
                                     {"crop_size", {{"height", side}, {"width", side}}},
                                     {"resample", 3},
                                     {"rescale_factor", 0.00392156862745098},
                                     {"image_mean", {0.48145466, 0.4578275, 0.40821073}},
                                     {"image_std", {0.26862954, 0.26130258, 0.27577711}}});
  std::vector<detail::TensorToWrite> tensors;
  for (const TensorSpec& spec : model_tensors(config))
    if (spec.presence == Presence::required)
      tensors.push_back({spec.name, dtype, spec.shape,
                         [weights, spec] { return weights.tensor(spec.name, spec.shape); }});
  detail::write_safetensors(directory / "model.safetensors", std::move(tensors),
                            {{"format", "pt"}});
}

}  // namespace pllava
