// Adapters as PEFT writes them: against PyTorch (tests/data/make_peft_goldens.py), the members of
// adapter_config.json, and what is refused.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/cpu/backend.hpp"
#include "pllava/models/language_model.hpp"
#include "pllava/models/projector.hpp"
#include "pllava/models/vision_encoder.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/tensors.hpp"

using namespace pllava;
using nlohmann::json;

namespace {

const std::filesystem::path kData = PLLAVA_TEST_DATA "/peft";

LoadOptions over_base() {
  LoadOptions options;
  options.base = kData / "base";
  options.frames = 1;
  options.pool = Grid{1, 3, 3};
  return options;
}

std::vector<float> values(const SafetensorsFile& file, const std::string& name) {
  const HostTensor t = file.tensor(name);
  std::vector<float> v(static_cast<std::size_t>(t.shape.count()));
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = load_float(t.data, t.dtype, static_cast<Index>(i));
  return v;
}

/// The first token's logits for the image and prompt of a golden.
std::vector<float> logits(const Checkpoint& checkpoint, const SafetensorsFile& golden) {
  using B = cpu::Backend;
  B be({.dtype = DType::f32, .threads = 1});
  const ModelConfig& config = checkpoint.config();
  const VisionEncoder<B> vision(be, config.vision, checkpoint["vision_tower"]);
  const Projector<B> project(be, config.projector, checkpoint["multi_modal_projector"]);
  const LanguageModel<B> language(be, config.text, checkpoint["language_model"]);
  Tensor<B> pixels(be, {1, 3, config.vision.image_size, config.vision.image_size}, DType::f32);
  be.upload(pixels, values(golden, "pixel_values").data());
  Tensor<B> features = vision(be, pixels);
  Tensor<B> image = project(be, features);
  const HostTensor prompt = golden.tensor("prompt_ids");
  const auto* ids = reinterpret_cast<const std::int32_t*>(prompt.data);
  const std::span<const std::int32_t> all(ids, static_cast<std::size_t>(prompt.shape[0]));
  const auto at = static_cast<std::size_t>(
      std::ranges::find(all, static_cast<std::int32_t>(config.image_token)) - all.begin());
  KvCache<B> kv = language.make_cache(be, 32);
  Tensor<B> result(be, {1, config.text.vocab}, DType::f32);
  Tensor<B> before = language.embed(be, all.first(at));
  Tensor<B> after = language.embed(be, all.subspan(at + 1));
  language.forward(be, before, kv, View{});
  language.forward(be, image, kv, View{});
  language.forward(be, after, kv, result);
  return detail::to_floats(be, result);
}

/// A copy of an adapter of the test data.
struct Adapter : test::TempDirectory {
  explicit Adapter(const std::string& name) {
    for (const char* file : {"adapter_config.json", "adapter_model.safetensors"})
      std::filesystem::copy_file(kData / name / file, path() / file);
  }
  /// Sets a member of adapter_config.json.
  void set(const std::string& key, const json& value) const {
    json config = json::parse(test::read_file(path() / "adapter_config.json"));
    config[key] = value;
    test::write_file(path() / "adapter_config.json", config.dump());
  }
  std::string error() const {
    return test::message_of<LoadError>([&] { Checkpoint::open(path(), over_base()); });
  }
  /// The message if member `key` has this value.
  std::string error_with(const std::string& key, const json& value) const {
    const std::string before = test::read_file(path() / "adapter_config.json");
    set(key, value);
    std::string message = error();
    test::write_file(path() / "adapter_config.json", before);
    return message;
  }
};

constexpr const char* kQuery = "language_model.model.layers.1.self_attn.q_proj.weight";

std::vector<float> weight(const Checkpoint& checkpoint) {
  const HostTensor t = checkpoint[""].tensor(kQuery, {24, 24});
  std::vector<float> v(24 * 24);
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = load_float(t.data, t.dtype, static_cast<Index>(i));
  return v;
}

}  // namespace

TEST_CASE("Logits of PEFT's adapters equal those of PEFT within 1e-4", "[peft]") {
  for (const std::string name : {"plain", "patterns"}) {
    INFO(name);
    const auto golden = SafetensorsFile::open(kData / name / "golden.safetensors");
    const Checkpoint checkpoint = Checkpoint::open(kData / name, over_base());
    CHECK(checkpoint.report().clean());
    const std::vector<float> expected = values(golden, "logits");
    CHECK(test::distance(logits(checkpoint, golden), expected) < 1e-4);
    LoadOptions other = over_base();
    other.lora_alpha = 4;  // the default of files without adapter_config.json
    CHECK(test::distance(logits(Checkpoint::open(kData / name, other), golden), expected) > 1e-2);
  }
}

TEST_CASE("The report says which alpha was used and where it came from", "[peft]") {
  const LoadReport plain = Checkpoint::open(kData / "plain", over_base()).report();
  CHECK(plain.lora_layers == 10);  // the last vision layer does not run
  CHECK(plain.lora_alpha == 6);
  CHECK(plain.lora_alpha_source == "adapter_config.json");
  CHECK(plain.lora_alpha_patterned == 0);
  CHECK_FALSE(plain.lora_rank_stabilized);
  CHECK(test::contains(plain.str(), "rank 4, alpha 6 (adapter_config.json)\n"));
  const LoadReport patterns = Checkpoint::open(kData / "patterns", over_base()).report();
  CHECK(patterns.lora_alpha_patterned == 3);  // q_proj of layer 0, two gate_proj
  CHECK(test::contains(patterns.str(), ", another by alpha_pattern for 3, scaled by alpha/sqrt"));
  LoadOptions options = over_base();
  options.lora_alpha = 8;
  const LoadReport chosen = Checkpoint::open(kData / "patterns", options).report();
  CHECK(chosen.lora_alpha == 8);
  CHECK(chosen.lora_alpha_source == "option");
  CHECK(chosen.lora_alpha_patterned == 0);
  const auto model = std::filesystem::path(PLLAVA_TEST_DATA) / "model" / "peft_sharded";
  CHECK(Checkpoint::open(model).report().lora_alpha_source == "default");
  CHECK(Checkpoint::open(kData / "base", over_base()).report().lora_alpha_source.empty());
}

TEST_CASE("Names of older PEFT and transformers give the same weights", "[peft]") {
  const auto expected = weight(Checkpoint::open(kData / "patterns", over_base()));
  const Adapter older("patterns");
  const auto file = SafetensorsFile::open(kData / "patterns" / "adapter_model.safetensors");
  std::vector<NamedTensor> tensors;
  for (const SafetensorsEntry& entry : file.entries()) {
    std::string name = entry.name;
    const auto replace = [&](const std::string& from, const std::string& to) {
      if (const auto at = name.find(from); at != std::string::npos)
        name.replace(at, from.size(), to);
    };
    replace(".model.model.language_model.layers", ".model.language_model.model.layers");
    replace(".model.model.vision_tower.", ".model.vision_tower.vision_model.");
    replace(".model.model.multi_modal_projector.", ".model.multi_modal_projector.");
    replace(".model.lm_head.", ".model.language_model.lm_head.");
    replace("lora_A.weight", "lora_A.default.weight");
    replace("lora_B.weight", "lora_B.default.weight");
    replace("multi_modal_projector.", "multi_modal_projector.modules_to_save.default.");
    replace("lm_head.", "lm_head.modules_to_save.");
    tensors.push_back({name, file.tensor(entry.name)});
  }
  write_safetensors(older / "adapter_model.safetensors", tensors);
  const Checkpoint checkpoint = Checkpoint::open(older.path(), over_base());
  CHECK(weight(checkpoint) == expected);
  CHECK(checkpoint.report().lora_layers == 10);
  // "^model.language_model..." is no module of this naming, as in PEFT
  CHECK(checkpoint.report().lora_alpha_patterned == 2);
  const HostTensor head = checkpoint["language_model"]["lm_head"].tensor("weight", {50, 24});
  const HostTensor saved = file.tensor("base_model.model.lm_head.weight");
  CHECK(std::equal(head.data, head.data + 50 * 24 * 4, saved.data));
}

TEST_CASE("Members of adapter_config.json that change the computation are refused by name",
          "[peft]") {
  const Adapter adapter("plain");
  REQUIRE(adapter.error() == "");
  const std::pair<const char*, json> refused[] = {
      {"peft_type", "LOHA"},
      {"bias", "all"},
      {"fan_in_fan_out", true},
      {"use_dora", true},
      {"lora_bias", true},
      {"use_qalora", true},
      {"init_lora_weights", "pissa"},
      {"init_lora_weights", "pissa_niter_4"},
      {"init_lora_weights", "olora"},
      {"init_lora_weights", "loftq"},
      {"trainable_token_indices", json::array({3})},
      {"target_parameters", json::array({"experts"})},
      {"layer_replication", json::array({json::array({0, 1})})},
      {"alora_invocation_tokens", json::array({3})},
      {"an_option_of_the_future", 1},
      {"use_rslora", "yes"},
      {"r", 0},
      {"lora_alpha", -1},
      {"lora_alpha", "6"},
      {"rank_pattern", json{{"q_proj", 0}}},
      {"alpha_pattern", json{{"q_proj", nullptr}}},
      {"alpha_pattern", json{{"(q|v)_proj", 3}}},
      {"alpha_pattern", json::array({1})},
      {"modules_to_save", "lm_head"}};
  for (const auto& [key, value] : refused) {
    INFO(key << " " << value);
    const std::string message = adapter.error_with(key, value);
    CHECK(test::contains(message, "adapter_config.json"));
    CHECK(test::contains(message, std::string("(") + key + ")"));
  }
  CHECK(test::contains(adapter.error_with("init_lora_weights", "pissa"),
                       "path_initial_model_for_weight_conversion"));
  const std::pair<const char*, json> accepted[] = {{"init_lora_weights", "gaussian"},
                                                   {"init_lora_weights", false},
                                                   {"an_option_of_the_future", nullptr},
                                                   {"another", json::object()},
                                                   {"lora_dropout", 0.1}};
  for (const auto& [key, value] : accepted) {
    INFO(key << " " << value);
    CHECK(adapter.error_with(key, value) == "");
  }
}

TEST_CASE("Factors and modules that disagree with adapter_config.json are refused", "[peft]") {
  const Adapter adapter("plain");
  CHECK(test::contains(adapter.error_with("r", 3), "lora_A.weight: expected (3, 24), got (4, 24)"));
  CHECK(test::contains(adapter.error_with("rank_pattern", json{{"layers.0.mlp.down_proj", 2}}),
                       "layers.0.mlp.down_proj.lora_A.weight: expected (2, 28), got (4, 28)"));
  CHECK(test::contains(adapter.error_with("modules_to_save", json::array({"lm_head"})),
                       "missing: lm_head (modules_to_save)"));
  const Adapter empty("plain");
  std::filesystem::remove(empty / "adapter_model.safetensors");
  CHECK(test::contains(empty.error(), "adapter_model.safetensors: cannot be opened"));
  // a pattern matches whole components of a name
  CHECK(adapter.error_with("rank_pattern", json{{"roj", 2}, {"self_attn", 2}}) == "");
}

TEST_CASE("A base that has a LoRA and one with tied embeddings that the adapter unties are refused",
          "[peft]") {
  const Adapter adapter("plain");
  LoadOptions options;
  options.base = std::filesystem::path(PLLAVA_TEST_DATA) / "model" / "peft_sharded";
  CHECK(test::contains(
      test::message_of<LoadError>([&] { Checkpoint::open(adapter.path(), options); }),
      "an adapter cannot lie over a base with a LoRA"));

  const test::TempDirectory tied;
  json config = json::parse(test::read_file(kData / "base" / "config.json"));
  config["text_config"]["tie_word_embeddings"] = true;
  test::write_file(tied / "config.json", config.dump());
  const auto copy = [](const std::filesystem::path& from, const std::filesystem::path& to,
                       const std::string& left_out, std::vector<NamedTensor> tensors) {
    const auto file = SafetensorsFile::open(from);
    for (const SafetensorsEntry& entry : file.entries())
      if (entry.name != left_out) tensors.push_back({entry.name, file.tensor(entry.name)});
    write_safetensors(to, tensors);
  };
  copy(kData / "base" / "model.safetensors", tied / "model.safetensors",
       "language_model.lm_head.weight", {});
  copy(kData / "plain" / "adapter_model.safetensors", adapter / "adapter_model.safetensors", "",
       {test::floats("base_model.model.model.language_model.embed_tokens.weight", {50, 24}, {})});
  options = over_base();
  options.base = tied.path();
  CHECK(test::contains(
      test::message_of<LoadError>([&] { Checkpoint::open(adapter.path(), options); }),
      "embed_tokens"));
  adapter.set("ensure_weight_tying", true);
  CHECK(Checkpoint::open(adapter.path(), options).report().clean());
}
