// The table of a model's tensors, against what is known of the published files.
#include <map>
#include <set>

#include "pllava/models/architecture.hpp"
#include "support/catch.hpp"

using namespace pllava;

namespace {

/// Buffers that older files carry and the published ones do not.
bool is_leftover(const std::string& name) {
  return name.ends_with("position_ids") || name.ends_with("inv_freq") || name == "image_newline";
}

}  // namespace

TEST_CASE("The table has as many tensors and bytes as the published checkpoints",
          "[tensor_table]") {
  struct Published {
    const char* name;
    Index tensors, bytes;
  };
  for (const auto& [name, tensors, bytes] :
       {Published{"7b", 814, 14261071872}, Published{"13b", 918, 26912704512},
        Published{"34b", 1178, 69850183680}}) {
    INFO(name);
    const ModelConfig config = ModelConfig::preset(name);
    constexpr Index kRank = 128;
    Index count = 0, elements = 0;
    for (const TensorSpec& s : model_tensors(config)) {
      if (is_leftover(s.name)) continue;
      ++count;
      elements += s.shape.count();
      if (s.name.ends_with("self_attn.q_proj.weight") ||
          s.name.ends_with("self_attn.v_proj.weight"))
        if (s.name.starts_with("language_model.")) {  // LoRA A and B
          count += 2;
          elements += kRank * (s.shape[0] + s.shape[1]);
        }
    }
    CHECK(count == tensors);
    CHECK(elements * 2 == bytes);
  }
}

TEST_CASE("Vision layers above the feature layer are not required", "[tensor_table]") {
  const auto presence = [](const ModelConfig& config) {
    std::map<std::string, Presence> map;
    for (const TensorSpec& s : model_tensors(config)) CHECK(map.emplace(s.name, s.presence).second);
    return map;
  };
  ModelConfig config = ModelConfig::preset("7b");
  const std::string layers = "vision_tower.vision_model.encoder.layers.";
  auto map = presence(config);
  CHECK(map.at(layers + "22.mlp.fc2.weight") == Presence::required);
  CHECK(map.at(layers + "23.mlp.fc2.weight") == Presence::unused);
  CHECK(map.at("vision_tower.vision_model.post_layernorm.bias") == Presence::unused);
  CHECK(map.at("language_model.lm_head.weight") == Presence::required);
  config.vision.feature_layer = -1;
  config.text.tied_embeddings = true;
  map = presence(config);
  CHECK(map.at(layers + "23.mlp.fc2.weight") == Presence::required);
  CHECK(map.at("language_model.lm_head.weight") == Presence::unused);
}

TEST_CASE("Grouped heads and head_dim determine the shapes of the projections", "[tensor_table]") {
  ModelConfig config = ModelConfig::preset("34b");
  config.text.head_dim = 96;  // 56 · 96 is not the width
  for (const TensorSpec& s : model_tensors(config)) {
    if (s.name == "language_model.model.layers.59.self_attn.q_proj.weight")
      CHECK(s.shape == Shape{56 * 96, 7168});
    if (s.name == "language_model.model.layers.59.self_attn.v_proj.weight")
      CHECK(s.shape == Shape{8 * 96, 7168});
    if (s.name == "language_model.model.layers.59.self_attn.o_proj.weight")
      CHECK(s.shape == Shape{7168, 56 * 96});
  }
}
