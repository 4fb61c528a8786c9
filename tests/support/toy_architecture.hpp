// An architecture that the library does not know: a vision tower of one layer without a class
// token, a projector of one matrix, and a GPT-2-like decoder (LayerNorm, biases, no rotary
// positions, no gate). It shows what adding an architecture takes: this file and nothing else.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "pllava/io/detail/json_file.hpp"
#include "pllava/io/detail/json_reader.hpp"
#include "pllava/models/architecture.hpp"

namespace test {

using pllava::Backend;
using pllava::ConstView;
using pllava::DType;
using pllava::Index;
using pllava::Tensor;
using pllava::View;

/// pixels (T, 3, S, S) -> norm(gelu(patches · Wᵀ + b)) (T·P, Dv).
template <Backend B>
class ToyVision {
 public:
  ToyVision(B& be, const pllava::VisionConfig& config, const pllava::ComponentWeights& weights)
      : config_(config),
        patch_(load_linear(be, weights["patch"])),
        norm_(load_norm(be, weights["norm"], pllava::NormKind::layer, config.norm_eps)) {}

  Tensor<B> operator()(B& be, ConstView pixels, const pllava::RunControl& control) const {
    const Index rows = pixels.shape[0] * config_.patches();
    auto scope = be.scope();
    View patches = be.scratch({rows, patch_.in}, be.activation_dtype());
    View x = be.scratch({rows, patch_.out}, DType::f32);
    pllava::ops::patchify(be, patches, pixels, config_.patch_size);
    pllava::ops::linear(be, x, patches, patch_, pllava::Activation::gelu);
    Tensor<B> features(be, {rows, patch_.out}, be.activation_dtype());
    pllava::ops::norm(be, features, x, norm_);
    control.at("vision", pixels.shape[0], pixels.shape[0]);
    return features;
  }

 private:
  pllava::VisionConfig config_;
  pllava::Linear<typename B::Weight> patch_;
  pllava::Norm<typename B::Weight> norm_;
};

/// (T·P, Dv) -> pooled rows (·, D).
template <Backend B>
class ToyProjector {
 public:
  ToyProjector(B& be, const pllava::ComponentWeights& weights)
      : linear_(load_linear(be, weights)) {}

  template <class Pool>
  Tensor<B> operator()(B& be, ConstView x, const Pool& pool, const pllava::Grid& grid) const {
    Tensor<B> y(be, {x.rows(), linear_.out}, DType::f32);
    pllava::ops::linear(be, y, x, linear_);
    return pool(be, y, grid);
  }

 private:
  pllava::Linear<typename B::Weight> linear_;
};

/// Rows (N, D) over a KvCache -> logits (1, V) with the embedding as the head.
template <Backend B>
class ToyDecoder {
 public:
  ToyDecoder(B& be, const pllava::TextConfig& config, const pllava::ComponentWeights& weights)
      : config_(config),
        heads_{config.heads, config.heads, config.head_dim},
        embedding_(load_weight(be, weights["wte"], pllava::WeightRole::table)),
        head_(load_linear(be, weights["wte"])),
        final_norm_(layer_norm(be, weights["ln_f"])) {
    for (Index l = 0; l < config.layers; ++l) {
      const pllava::ComponentWeights layer = weights["h"][l];
      layers_.push_back({layer_norm(be, layer["ln_1"]), layer_norm(be, layer["ln_2"]),
                         load_linear(be, layer["c_attn"]), load_linear(be, layer["c_proj"]),
                         load_linear(be, layer["c_fc"]), load_linear(be, layer["mlp_proj"])});
    }
  }

  pllava::KvCache<B> make_cache(B& be, Index capacity) const {
    return {be, config_.layers, heads_, capacity};
  }

  Tensor<B> embed(B& be, std::span<const std::int32_t> ids) const {
    const auto n = static_cast<Index>(ids.size());
    Tensor<B> device_ids(be, {n}, DType::i32), x(be, {n, config_.width}, DType::f32);
    be.upload(device_ids, ids.data());
    pllava::ops::embed(be, x, device_ids, embedding_);
    return x;
  }

  void forward(B& be, View x, pllava::KvCache<B>& kv, View logits,
               const pllava::RunControl& control) const {
    const pllava::Sequence positions = kv.next_positions(x.rows());
    control.check("prefill");
    run_layers(be, x, kv, positions, logits);
    kv.commit(be, x.rows());
  }

  void step(B& be, ConstView id, pllava::KvCache<B>& kv, View logits) const {
    auto scope = be.scope();
    const pllava::Sequence positions = kv.next_positions(1);
    View x = be.scratch({1, config_.width}, DType::f32);
    pllava::ops::embed(be, x, id, embedding_);
    run_layers(be, x, kv, positions, logits);
    kv.commit(be, 1);
  }

 private:
  using Norm = pllava::Norm<typename B::Weight>;
  using Linear = pllava::Linear<typename B::Weight>;
  struct Layer {
    Norm norm1, norm2;
    Linear qkv, out, up, down;
  };

  Norm layer_norm(B& be, const pllava::ComponentWeights& weights) const {
    return load_norm(be, weights, pllava::NormKind::layer, config_.norm_eps);
  }

  void run_layers(B& be, View x, pllava::KvCache<B>& kv, const pllava::Sequence& positions,
                  View logits) const {
    auto scope = be.scope();
    const Index N = x.rows(), D = config_.width;
    const DType act = be.activation_dtype();
    View h = be.scratch({N, D}, act), qkv = be.scratch({N, heads_.qkv_width()}, act);
    View o = be.scratch({N, D}, act), g = be.scratch({N, config_.ffn}, act);
    for (Index l = 0; l < config_.layers; ++l) {
      const Layer& w = layers_[static_cast<std::size_t>(l)];
      pllava::ops::norm(be, h, x, w.norm1);
      pllava::ops::linear(be, qkv, h, w.qkv);
      pllava::ops::attend(be, o, qkv,
                          {.heads = heads_,
                           .kv = &kv.layer(l),
                           .sequence = positions,
                           .mask = pllava::Mask::causal});
      pllava::ops::residual(be, x, h, o, w.out, &w.norm2);
      pllava::ops::linear(be, g, h, w.up, config_.activation);
      pllava::ops::residual(be, x, h, g, w.down, nullptr);
    }
    if (logits.empty()) return;
    const View last = h.slice(N - 1, 1);
    pllava::ops::norm(be, last, x.slice(N - 1, 1), final_norm_);
    pllava::ops::linear(be, logits, last, head_);
  }

  pllava::TextConfig config_;
  pllava::Heads heads_;
  typename B::Weight embedding_;
  Linear head_;
  Norm final_norm_;
  std::vector<Layer> layers_;
};

struct ToyArchitecture {
  static constexpr std::string_view kModelTypes = "\"toy\"";
  static bool accepts(std::string_view model_type) noexcept { return model_type == "toy"; }

  static pllava::ModelConfig read_config(const std::filesystem::path& directory) {
    const std::filesystem::path path = directory / "config.json";
    const pllava::detail::JsonDocument object = pllava::detail::read_json_object(path);
    const pllava::detail::JsonReader json(object.root, path.string());
    pllava::ModelConfig c;
    c.vision.image_size = json.size("image_size", 16);
    c.vision.patch_size = json.size("patch_size", 4);
    c.vision.width = json.size("visual_width", 24);
    c.projector.input = c.vision.width;
    c.text.vocab = json.size("n_vocab", 300);
    c.text.width = c.projector.output = json.size("n_embd", 32);
    c.text.layers = json.size("n_layer", 2);
    c.text.heads = c.text.kv_heads = json.size("n_head", 4);
    c.text.head_dim = c.text.width / c.text.heads;
    c.text.ffn = 4 * c.text.width;
    c.text.context = json.size("n_ctx", 256);
    c.text.norm_eps = 1e-5f;
    c.text.activation = pllava::Activation::gelu;
    c.frames = 4;
    c.pool.output = {4, 2, 2};
    c.image_token = json.size("image_token", 259);
    c.eos_tokens.clear();
    return c;
  }

  static pllava::TensorTable tensors(const pllava::ModelConfig& c) {
    using enum pllava::QuantizationGroup;
    const Index D = c.text.width, p = c.vision.patch_size;
    pllava::TensorTable table;
    const auto layer_norm = [&](const std::string& name, Index width) {
      table.add_with_bias(name, {.shape = {width}, .initializer = pllava::Initializer::ones});
    };
    table.add_with_bias("visual.patch", {.shape = {c.vision.width, 3 * p * p}});
    layer_norm("visual.norm", c.vision.width);
    table.add({.name = "bridge.weight", .shape = {D, c.vision.width}, .group = vision});
    table.add({.name = "decoder.wte.weight",
               .shape = {c.text.vocab, D},
               .initializer = pllava::Initializer::embedding,
               .is_lookup_table = true});
    for (Index l = 0; l < c.text.layers; ++l) {
      const std::string layer = "decoder.h." + std::to_string(l) + ".";
      layer_norm(layer + "ln_1", D);
      layer_norm(layer + "ln_2", D);
      table.add_with_bias(layer + "c_attn", {.shape = {3 * D, D}, .group = language});
      table.add_with_bias(layer + "c_proj", {.shape = {D, D}, .group = language});
      table.add_with_bias(layer + "c_fc", {.shape = {c.text.ffn, D}, .group = language});
      table.add_with_bias(layer + "mlp_proj", {.shape = {D, c.text.ffn}, .group = language});
    }
    layer_norm("decoder.ln_f", D);
    return table;
  }

  template <Backend B>
  static auto build(B& be, const pllava::ModelConfig& config, const pllava::WeightScope& root) {
    const pllava::ComponentWeights weights(root, tensors(config));
    return pllava::Components{
        ToyVision<B>(be, config.vision, weights["visual"]), ToyProjector<B>(be, weights["bridge"]),
        pllava::TemporalPool(config.pool), ToyDecoder<B>(be, config.text, weights["decoder"])};
  }
};

}  // namespace test
