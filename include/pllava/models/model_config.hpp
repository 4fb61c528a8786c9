// The description of a model, read from config.json. Defaults are the reference's (sections 3, 4
// and 6): CLIP ViT-L/14-336, two-layer projector, pooling to 16x12x12, LLaMA.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pllava/core/activation.hpp"
#include "pllava/core/pooling.hpp"
#include "pllava/core/shape.hpp"

namespace pllava {

/// A vision transformer: CLIP, or SigLIP without class token and pre-norm.
struct VisionConfig {
  Index image_size = 336;  ///< S, side of the square input in pixels
  Index patch_size = 14;
  Index width = 1024;  ///< D
  Index ffn = 4096;    ///< F
  Index layers = 24;   ///< L, of which `used_layers()` run
  Index heads = 16;
  float norm_eps = 1e-5f;
  Activation activation = Activation::quick_gelu;
  Index feature_layer = -2;  ///< index into the L+1 hidden states; negative counts from the end
  bool class_token = true;   ///< a row before the patches; its features are dropped
  bool pre_norm = true;      ///< a norm before the first layer
  bool patch_bias = false;   ///< the patch embedding has a bias

  /// Whole patches of a side; pixels after the last one are left out.
  Index grid_side() const { return image_size / patch_size; }
  Index patches() const { return grid_side() * grid_side(); }             ///< P
  Index frame_rows() const { return patches() + (class_token ? 1 : 0); }  ///< rows of a frame
  /// Layers that must run to obtain hidden state `feature_layer`: 23 of 24 for -2.
  Index used_layers() const {
    return feature_layer < 0 ? layers + 1 + feature_layer : feature_layer;
  }
};

/// linear_1, activation, linear_2.
struct ProjectorConfig {
  Index input = 1024;   ///< width of the vision features
  Index output = 4096;  ///< width of the language model; also of the hidden layer
  Activation activation = Activation::gelu;
  bool pools_first = false;  ///< the features are pooled, not their projections
};

/// Adaptive pooling of (T, H, W) patch rows to `output`.
struct PoolConfig {
  Grid output{16, 12, 12};
  PoolKind kind = PoolKind::average;
  bool keeps_frames = false;  ///< output.t is the number of frames, also if that is changed
};

/// Longer wavelengths of rotary positions, for contexts beyond that of the training ("llama3" in
/// config.json). Frequencies with fewer than `low_freq_factor` waves in `original_context` are
/// divided by `factor`, those with more than `high_freq_factor` stay, others are interpolated.
struct RopeScaling {
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  Index original_context = 8192;
};

/// A decoder of the LLaMA kind: LLaMA, Mistral, Qwen2.
struct TextConfig {
  Index vocab = 32000;  ///< V
  Index width = 4096;   ///< D
  Index ffn = 11008;    ///< F
  Index layers = 32;    ///< L
  Index heads = 32;     ///< Hq
  Index kv_heads = 32;  ///< Hkv; query head j reads kv head j / (Hq/Hkv)
  Index head_dim = 128;
  Index context = 2048;  ///< max_position_embeddings
  float norm_eps = 1e-6f;
  double rope_theta = 10000.0;
  std::optional<RopeScaling> rope_scaling = {};
  std::vector<float> rope_factors = {};  ///< (head_dim/2) divide the frequencies; empty: all 1
  bool qkv_bias = false;                 ///< biases of the query, key and value projections
  Activation activation = Activation::silu;
  bool tied_embeddings = false;  ///< lm_head shares embed_tokens
};

/// A whole model. Every architecture fills it in; values of one architecture alone go into
/// `parameters`.
struct ModelConfig {
  std::string model_type = "llava";  ///< chooses the architecture
  VisionConfig vision;
  ProjectorConfig projector;
  PoolConfig pool;
  TextConfig text;
  std::map<std::string, double> parameters = {};
  /// Key of the family's conversation_template(); empty for PLLaVA's, which depend on the task.
  std::string conversation_template = {};
  Index frames = 16;          ///< frames sampled from a clip
  Index end_rows = 0;         ///< rows after the last frame of a video: an image_newline
  Index image_token = 32000;  ///< id that marks the place of the video
  Index pad_token = 0;
  Index bos_token = 1;
  std::vector<Index> eos_tokens = {2};
  /// Sentences about what config.json describes and this library does otherwise; LoadReport has
  /// them.
  std::vector<std::string> notes = {};

  /// Rows of the video in the prompt, for `frames` frames.
  Index video_rows() const { return pool.output.count() + end_rows; }

  /// "7b", "13b", "34b" (published sizes) or "tiny" (a few thousand weights, for tests and demos).
  /// Throws ArgumentError for another name.
  static ModelConfig preset(std::string_view name);
};

}  // namespace pllava

#ifndef PLLAVA_COMPILED
#include "pllava/models/detail/model_config_inl.hpp"
#endif
