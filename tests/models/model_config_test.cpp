// config.json: what is read, what defaults, what is refused.
#include "pllava/models/model_config.hpp"

#include "pllava/checkpoint/checkpoint.hpp"
#include "pllava/checkpoint/random_checkpoint.hpp"
#include "pllava/models/architecture.hpp"
#include "pllava/text/prompt.hpp"
#include "pllava/weights/random_weights.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"

using namespace pllava;

namespace {
const std::string kVision =
    R"("vision_config":{"hidden_size":1024,"image_size":336,"intermediate_size":4096,)"
    R"("num_attention_heads":16,"num_hidden_layers":24,"patch_size":14})";

std::string error_for(const std::string& json) {
  const test::TempDirectory dir;
  test::write_file(dir.path() / "config.json", json);
  return test::message_of<LoadError>([&] { read_model_config(dir.path()); });
}
}  // namespace

TEST_CASE("LLaVA-NeXT-Video pools each frame before the projector", "[config]") {
  const auto directory = std::filesystem::path(PLLAVA_TEST_DATA) / "model" / "next_video";
  const ModelConfig m = read_model_config(directory);
  CHECK(m.projector.pools_first);
  CHECK(m.pool.kind == PoolKind::average);
  CHECK(m.pool.output == Grid{3, 2, 2});
  CHECK(m.image_token == 65);
  const auto pool = [&](const LoadOptions& options) {
    return Checkpoint::open(directory, options).config().pool.output;
  };
  CHECK(pool({.frames = 8}) == Grid{8, 2, 2});
  CHECK(pool({.frames = 8, .pool = Grid{4, 1, 1}}) == Grid{4, 1, 1});
}

TEST_CASE("A configuration notes that LLaVA-NeXT's tiles are left out", "[config]") {
  const auto notes = [](const std::string& type) {
    const test::TempDirectory dir;
    test::write_file(dir.path() / "config.json",
                     R"({"model_type":")" + type + R"(","text_config":{},)" + kVision + "}");
    return read_model_config(dir.path()).notes;
  };
  REQUIRE(notes("llava_next").size() == 1);
  CHECK(test::contains(notes("llava_next")[0], "image_newline"));
  CHECK(notes("llava").empty());
}

TEST_CASE("The published 7B configuration equals the preset", "[model_config]") {
  const test::TempDirectory dir;
  test::write_file(dir.path() / "config.json",
                   R"({"model_type":"llava","architectures":["PllavaForConditionalGeneration"],)"
                   R"("stride":1,"pooling_shape":[16,12,12],"frame_shape":[24,24],"text_config":)"
                   R"({"model_type":"llama","vocab_size":32064,"rms_norm_eps":1e-05,)"
                   R"("max_position_embeddings":4096},)" +
                       kVision + "}");
  test::write_file(dir.path() / "generation_config.json", R"({"eos_token_id":[2,7]})");
  const ModelConfig read = read_model_config(dir.path());
  const ModelConfig preset = ModelConfig::preset("7b");
  CHECK(read.text.vocab == preset.text.vocab);
  CHECK(read.text.norm_eps == preset.text.norm_eps);
  CHECK(read.text.kv_heads == 32);
  CHECK(read.text.context == preset.text.context);
  CHECK(read.vision.used_layers() == 23);
  CHECK(read.pool.output == preset.pool.output);
  CHECK(read.eos_tokens == std::vector<Index>{2, 7});
}

TEST_CASE("Each family has its conversation template", "[model_config]") {
  const auto key = [](const std::string& members, const std::string& text) {
    const test::TempDirectory dir;
    test::write_file(dir.path() / "config.json",
                     "{" + members + R"(,"text_config":{)" + text + "}," + kVision + "}");
    return read_model_config(dir.path()).conversation_template;
  };
  const std::string llava = R"("model_type":"llava")", next = R"("model_type":"llava_next")",
                    video = R"("model_type":"llava_next_video")", yi = R"("vocab_size":64064)",
                    llama = R"("vocab_size":32064)";
  CHECK(key(llava, llama) == "llava");
  CHECK(key(next, llama) == "llava");
  CHECK(key(video, llama) == "llava");
  CHECK(key(next, yi) == "llava_34b");
  CHECK(key(video, yi) == "llava_video_34b");
  CHECK(key(next, R"("vocab_size":128320)") == "llava_llama3");
  CHECK(key(next, R"("model_type":"mistral","vocab_size":32064)") == "llava_mistral");
  CHECK(key(next, R"("model_type":"qwen2","num_key_value_heads":8)") == "llava_qwen");
  // PLLaVA's own templates depend on the task.
  CHECK(key(llava + R"(,"architectures":["PllavaForConditionalGeneration"])", llama).empty());
  CHECK(key(llava + R"(,"pooling_shape":[16,12,12])", llama).empty());
  CHECK(key(R"("model_type":"pllava")", llama).empty());
  for (const char* family : {"llava", "llava_34b", "llava_video_34b", "llava_llama3",
                             "llava_mistral", "llava_qwen", "llava_onevision"})
    CHECK(conversation_template(family).key == family);
}

TEST_CASE("A written configuration reads back", "[model_config]") {
  const test::TempDirectory dir;
  write_random_checkpoint(dir.path(), ModelConfig::preset("tiny"));
  const ModelConfig read = read_model_config(dir.path());
  CHECK(read.text.kv_heads == 2);
  CHECK(read.text.head_dim == 16);
  CHECK(read.vision.patches() == 16);
  CHECK(read.image_token == 319);
  CHECK(read.pool.output == Grid{16, 2, 2});
}

TEST_CASE("Newer key names give the same configuration", "[model_config]") {
  const test::TempDirectory dir;
  test::write_file(dir.path() / "config.json",
                   R"({"model_type":"llava","image_token_id":77,"pad_token_id":null,)"
                   R"("text_config":{"model_type":"llama","hidden_size":96,)"
                   R"("num_attention_heads":4,"head_dim":32,"num_key_value_heads":2,)"
                   R"("rope_scaling":null,"rope_parameters":)"
                   R"({"rope_type":"default","rope_theta":5000000.0},"eos_token_id":7},)" +
                       kVision + "}");
  const ModelConfig m = read_model_config(dir.path());
  CHECK(m.image_token == 77);
  CHECK(m.text.head_dim == 32);  // not hidden_size / heads
  CHECK(m.text.kv_heads == 2);
  CHECK(m.text.rope_theta == 5000000.0);
  CHECK(m.eos_tokens == std::vector<Index>{7});
  CHECK(m.pad_token == 0);
}

TEST_CASE("A configuration of another model is refused by key", "[model_config]") {
  const auto with = [](const std::string& top, const std::string& text) {
    return R"({"model_type":"llava",)" + top + R"("text_config":{)" + text + "}," + kVision + "}";
  };
  CHECK(error_for(with("", "")).empty());
  const std::pair<std::string, std::string> cases[] = {
      {R"({"model_type":"qwen2_vl"})", "model_type"},
      {R"({"model_type":"llava"})", "vision_config"},
      {with(R"("architectures":["Other"],)", ""), "architectures"},
      {with(R"("frame_shape":[16,16],)", ""), "frame_shape"},
      {with(R"("pooling_shape":[16,12],)", ""), "pooling_shape"},
      {with(R"("vision_feature_layer":-40,)", ""), "vision_feature_layer"},
      {with(R"("vision_feature_select_strategy":"full",)", ""), "select_strategy"},
      {with("", R"("model_type":"gemma")"), "text_config.model_type"},
      {with("", R"("partial_rotary_factor":0.5)"), "text_config.partial_rotary_factor"},
      {with("", R"("rope_scaling":{"rope_type":"llama3","factor":0.5})"),
       "text_config.rope_scaling.factor"},
      {with("", R"("attention_bias":true)"), "text_config.attention_bias"},
      {with("", R"("rope_scaling":{"type":"linear","factor":2})"), "text_config.rope_scaling"},
      {with("", R"("num_key_value_heads":5)"), "text_config.num_key_value_heads"},
      {with("", R"("hidden_size":-1)"), "text_config.hidden_size"},
      {with("", R"("rms_norm_eps":"x")"), "text_config.rms_norm_eps"},
      {with("", R"("hidden_size":4096.0)"), "text_config.hidden_size"},
      {with("", R"("hidden_size":18446744073709551615)"), "text_config.hidden_size"},
      {with("", R"("num_attention_heads":8192)"), "text_config.num_attention_heads"},
      {with("", R"("head_dim":3)"), "text_config.head_dim"},
      {with("", R"("rms_norm_eps":1e999)"), "not valid JSON"},
      {with("", R"("rms_norm_eps":NaN)"), "not valid JSON"},
      {with("", R"("rope_theta":0)"), "text_config.rope_theta"},
      {with("", R"("rope_parameters":{"rope_type":"yarn"})"), "text_config.rope_parameters"},
      {with("", R"("hidden_act":"relu")"), "text_config.hidden_act"},
      {with(R"("num_frames":0,)", ""), "num_frames"},
      {with(R"("pooling_shape":[16,12,1e3],)", ""), "pooling_shape"},
      {"[1]", "not a JSON object"},
      {"{", "not valid JSON"}};
  for (const auto& [json, key] : cases) {
    INFO(json);
    CHECK(test::contains(error_for(json), key));
  }
  CHECK_THROWS_AS(ModelConfig::preset("8b"), ArgumentError);
}
