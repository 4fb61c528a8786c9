// Vision transformer (reference section 3: CLIP; SigLIP): pixels to patch features.
// Threads: const after construction; share it, with a backend per thread.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "pllava/core/control.hpp"
#include "pllava/core/ops.hpp"
#include "pllava/models/load_layers.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava {

/// The tensors of a vision tower, relative to "vision_tower" (reference 7.3).
TensorTable vision_tensors(const VisionConfig& config);

template <Backend B>
class VisionEncoder {
 public:
  /// Loads and packs the weights of scope "vision_tower". Throws LoadError, OutOfMemoryError.
  VisionEncoder(B& be, const VisionConfig& config, const WeightScope& tower)
      : config_(config), heads_{config.heads, config.heads, config.width / config.heads} {
    const ComponentWeights model = ComponentWeights(tower, vision_tensors(config))["vision_model"];
    const ComponentWeights embeddings = model["embeddings"];
    HostTensor patch = embeddings["patch_embedding"].tensor("weight");
    patch.shape = Shape{patch.shape[0], patch.shape.count() / patch.shape[0]};
    patch_ = {be.prepare({&patch, 1}, WeightRole::linear), {}, patch.shape[0], patch.shape[1]};
    if (config.patch_bias) {
      const HostTensor bias = embeddings["patch_embedding"].tensor("bias");
      patch_.bias = be.prepare({&bias, 1}, WeightRole::vector);
    }
    if (config.class_token) {
      const HostTensor cls = embeddings.tensor("class_embedding");
      class_token_ = be.prepare({&cls, 1}, WeightRole::vector);
    }
    positions_ = load_weight(be, embeddings["position_embedding"], WeightRole::vector);
    if (config.pre_norm) pre_norm_ = load_layer_norm(be, model["pre_layrnorm"]);
    for (Index l = 0; l < config.used_layers(); ++l)
      layers_.push_back(load_layer(be, model["encoder"]["layers"][l]));
  }

  const VisionConfig& config() const noexcept { return config_; }

  /// pixels (T, 3, S, S) f32 -> features (T·P, D) in the backend's activation type.
  Tensor<B> operator()(B& be, ConstView pixels, const RunControl& control = {}) const {
    const Index T = pixels.shape[0], P = config_.patches(), D = config_.width;
    if (pixels.shape.rank() != 4 || pixels.shape[1] != 3 || pixels.shape[2] != config_.image_size ||
        pixels.shape[3] != config_.image_size)
      throw ShapeError("VisionEncoder",
                       "expected pixels (T, 3, " + std::to_string(config_.image_size) + ", " +
                           std::to_string(config_.image_size) + "), got " + pixels.shape.str());
    Tensor<B> features(be, {T * P, D}, be.activation_dtype());
    const Index at_once = frames_at_once(config_.frame_rows());
    for (Index t = 0; t < T; t += at_once) {
      const Index n = std::min(at_once, T - t);
      ConstView chunk = pixels;  // (n, 3, S, S)
      const Index frame_elements = pixels.shape.count() / T;
      chunk.data = pixels.as<float>() + t * frame_elements;
      chunk.shape = {n, 3, config_.image_size, config_.image_size};
      encode(be, features.view().slice(t * P, n * P), chunk, control);
      control.at("vision", t + n, T);
    }
    return features;
  }

  /// Hidden state after the embeddings, the pre-norm and `layers` layers, class token included:
  /// (T·frame_rows(), D) f32.
  Tensor<B> hidden_state(B& be, ConstView pixels, Index layers) const {
    const Index rows = pixels.shape[0] * config_.frame_rows();
    Tensor<B> x(be, {rows, config_.width}, DType::f32);
    forward(be, x, pixels, layers, {});
    return x;
  }

 private:
  struct Layer {
    Norm<typename B::Weight> norm1, norm2;
    Linear<typename B::Weight> qkv, out, fc1, fc2;
  };

  /// Two frames are enough for efficient GEMMs on a CPU, and progress stays fine-grained.
  static constexpr Index frames_at_once([[maybe_unused]] Index rows_per_frame) noexcept {
    if constexpr (requires { B::kMaxBatchRows; })
      return std::max<Index>(1, B::kMaxBatchRows / rows_per_frame);
    else
      return 2;
  }

  Norm<typename B::Weight> load_layer_norm(B& be, const ComponentWeights& weights) const {
    return load_norm(be, weights, NormKind::layer, config_.norm_eps);
  }

  Layer load_layer(B& be, const ComponentWeights& weights) const {
    return {load_layer_norm(be, weights["layer_norm1"]),
            load_layer_norm(be, weights["layer_norm2"]),
            load_qkv(be, weights["self_attn"]),
            load_linear(be, weights["self_attn"]["out_proj"]),
            load_linear(be, weights["mlp"]["fc1"]),
            load_linear(be, weights["mlp"]["fc2"])};
  }

  void encode(B& be, View features, ConstView pixels, const RunControl& control) const {
    auto scope = be.scope();
    View x = be.scratch({pixels.shape[0] * config_.frame_rows(), config_.width}, DType::f32);
    forward(be, x, pixels, config_.used_layers(), control);
    ops::select_patches(be, features, x, config_.patches());
  }

  void forward(B& be, View x, ConstView pixels, Index layers, const RunControl& control) const {
    auto scope = be.scope();
    const Index T = pixels.shape[0], P = config_.patches(), D = config_.width;
    const Index N = T * config_.frame_rows();
    const DType act = be.activation_dtype();
    View rows = be.scratch({T * P, patch_.in}, act);    // (T·P, 3·patch²)
    View patches = be.scratch({T * P, D}, DType::f32);  // (T·P, D)
    View h = be.scratch({N, D}, act);                   // (N, D)
    View qkv = be.scratch({N, 3 * D}, act);             // (N, 3D)
    View o = be.scratch({N, D}, act);                   // (N, D)
    View g = be.scratch({N, config_.ffn}, act);         // (N, F)

    ops::patchify(be, rows, pixels, config_.patch_size);
    ops::linear(be, patches, rows, patch_);
    ops::add_positions(be, x, patches, class_token_, positions_, P);
    if (config_.pre_norm) ops::norm(be, x, x, pre_norm_);
    if (layers > 0) ops::norm(be, h, x, layers_[0].norm1);
    const Sequence frames{.past = {}, .bound = 0, .batch = T};
    for (Index l = 0; l < layers; ++l) {
      control.check("vision");
      const Layer& w = layers_[static_cast<std::size_t>(l)];
      const Norm<typename B::Weight>* next =
          l + 1 < layers ? &layers_[static_cast<std::size_t>(l) + 1].norm1 : nullptr;
      ops::linear(be, qkv, h, w.qkv);
      ops::attend(be, o, qkv, {.heads = heads_, .sequence = frames});
      ops::residual(be, x, h, o, w.out, &w.norm2);  // x += out(o);  h = norm2(x)
      ops::linear(be, g, h, w.fc1, config_.activation);
      ops::residual(be, x, h, g, w.fc2, next);  // x += fc2(g);  h = next(x)
    }
  }

  VisionConfig config_;
  Heads heads_;
  Linear<typename B::Weight> patch_;
  typename B::Weight class_token_, positions_;
  Norm<typename B::Weight> pre_norm_;
  std::vector<Layer> layers_;
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/models/detail/components_inl.hpp"
#endif
