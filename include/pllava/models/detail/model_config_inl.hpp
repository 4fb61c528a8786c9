// Bodies of models/model_config.hpp: the named sizes.
#pragma once

#include <string>

#include "pllava/error.hpp"
#include "pllava/models/model_config.hpp"

namespace pllava {

PLLAVA_INLINE ModelConfig ModelConfig::preset(std::string_view name) {
  ModelConfig m;
  m.text.vocab = 32064;  // 32,000 and the added tokens, padded to a multiple of 64
  m.text.context = 4096;
  m.text.norm_eps = 1e-5f;
  if (name == "13b") {
    m.text.width = 5120;
    m.text.ffn = 13824;
    m.text.layers = m.text.heads = m.text.kv_heads = 40;
  } else if (name == "34b") {
    m.text.vocab = 64064;
    m.text.width = 7168;
    m.text.ffn = 20480;
    m.text.layers = 60;
    m.text.heads = 56;
    m.text.kv_heads = 8;
    m.text.rope_theta = 5000000.0;
    m.image_token = 64002;
    m.eos_tokens = {7};
  } else if (name == "tiny") {
    m.vision.image_size = 56;
    m.vision.width = 64;
    m.vision.ffn = 128;
    m.vision.layers = 3;
    m.vision.heads = 4;
    m.text.vocab = 320;
    m.text.width = 64;
    m.text.ffn = 160;
    m.text.layers = 2;
    m.text.heads = 4;
    m.text.kv_heads = 2;
    m.text.head_dim = 16;
    m.text.context = 1024;
    m.pool.output = {16, 2, 2};
    m.image_token = 319;
  } else if (name != "7b") {
    throw ArgumentError("no preset \"" + std::string(name) + "\": expected 7b, 13b, 34b or tiny");
  }
  m.projector.input = m.vision.width;
  m.projector.output = m.text.width;
  return m;
}

}  // namespace pllava
