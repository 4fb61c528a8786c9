// LLaVA-OneVision as a pipeline: a directory that transformers' model and processor saved
// (tests/data/make_onevision_golden.py). model_golden_test.cpp has its components.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/golden_model.hpp"
#include "support/goldens.hpp"
#include "support/subjects.hpp"

namespace {

using namespace pllava;

const std::filesystem::path kDirectory =
    std::filesystem::path(PLLAVA_TEST_DATA) / "model" / "onevision";
const LoadOptions kThreeFrames{.frames = 3};

SafetensorsFile golden() {
  return SafetensorsFile::open(kDirectory / "golden.safetensors");
}

Clip golden_clip() {
  return test::golden_clip(golden());
}

TEST_CASE("LLaVA-OneVision equals transformers from the frames to the logits", "[onevision]") {
  const Clip clip = golden_clip();
  const PreprocessConfig preprocess = PreprocessConfig::from_directory(kDirectory);
  CHECK(pllava::preprocess(clip, preprocess) == test::golden_floats(golden(), "pixel_values"));
  test::each_backend({DType::f32, DType::bf16}, [&](const auto& s) {
    INFO(s.name());
    const auto model = test::load_model(s.backend(), kDirectory, kThreeFrames);
    const double tolerance = s.dtype == DType::f32 ? 1e-4 : 2e-2;
    const std::vector<float> expected = test::golden_floats(golden(), "logits");
    CHECK(model->video_tokens(3) == 28);
    const auto encoder = model->make_encoder();
    const EncodedVideo video = encoder->encode_clip(clip.frames, preprocess, {}, nullptr);
    CHECK(video.tokens() == 28);  // 3 x 3 rows of each frame, and one newline
    CHECK(video.tokens_per_frame() == 9);
    const std::vector<float> logits = test::prompt_logits(*model, golden(), video);
    CHECK(test::relative_distance(logits, expected) < tolerance);

    // However the frames are put together, one newline ends the video.
    std::vector<EncodedVideo> parts;
    for (const Frame& frame : clip.frames)
      parts.push_back(encoder->encode_frames({&frame, 1}, preprocess, {}));
    CHECK(parts[0].tokens() == 10);
    const EncodedVideo joined = EncodedVideo::concatenate(parts);
    CHECK(joined.tokens() == 28);
    CHECK(test::prompt_logits(*model, golden(), joined) == logits);
    const std::vector<EncodedVideo> slices = {video.slice(0, 1), video.slice(1, 2)};
    CHECK(slices[0].tokens() == 10);
    CHECK(slices[1].tokens() == 19);
    CHECK(test::prompt_logits(*model, golden(), EncodedVideo::concatenate(slices)) == logits);
    CHECK(test::prompt_logits(*model, golden(), slices[1]) != logits);
  });
}

TEST_CASE("A directory of LLaVA-OneVision loads as save_pretrained left it", "[onevision]") {
  const Pipeline model = Pipeline::load(kDirectory, kThreeFrames, {.threads = 2});
  CHECK(model.preprocess_config().fit == FrameFit::stretch);
  Session session = model.watch(golden_clip(), {.conversation_template = "plain"});
  const Index before = session.report().prefix_tokens;
  CHECK(before >= 28);
  CHECK(session.ask("What?", {.max_new_tokens = 4}).output_ids.size() <= 4);
  const EncodedVideo video = model.encode(golden_clip());
  CHECK(model.watch(video, {.conversation_template = "plain"}).report().prefix_tokens == before);
  CHECK(std::any_of(model.warnings().begin(), model.warnings().end(), [](const std::string& text) {
    return test::contains(text, "image_grid_pinpoints");
  }));
  // The room is checked with the newline.
  CHECK_THROWS_AS(model.watch(video, {.conversation_template = "plain", .capacity = before - 1}),
                  ContextError);
}

TEST_CASE("The configuration of LLaVA-OneVision", "[onevision]") {
  const Checkpoint checkpoint = Checkpoint::open(kDirectory);
  CHECK(checkpoint.report().clean());
  const ModelConfig& m = checkpoint.config();
  CHECK(m.frames == 16);
  CHECK(m.vision.grid_side() == 5);
  CHECK(m.vision.frame_rows() == 25);
  CHECK(m.vision.used_layers() == m.vision.layers);
  CHECK(m.vision.activation == Activation::gelu_tanh);
  CHECK(m.vision.norm_eps == 1e-6f);
  CHECK(m.pool.kind == PoolKind::bilinear);
  CHECK(m.pool.output == Grid{16, 3, 3});
  CHECK(m.video_rows() == 16 * 9 + 1);
  CHECK(Checkpoint::open(kDirectory, {.frames = 8}).config().pool.output == Grid{8, 3, 3});
  CHECK(Checkpoint::open(kDirectory, {.pool = Grid{1, 5, 5}}).config().pool.output ==
        Grid{1, 5, 5});
}

TEST_CASE("int8 weights of LLaVA-OneVision stay close", "[onevision]") {
  LoadOptions options = kThreeFrames;
  options.quantize = QuantizeOptions::of(WeightFormat::int8);
  const auto answer = [&](const LoadOptions& load) {
    Session session = Pipeline::load(kDirectory, load, {.dtype = DType::f32, .threads = 2})
                          .watch(golden_clip(), {.conversation_template = "plain"});
    return session.ask("What?", {.max_new_tokens = 1, .first_logits = true}).first_logits;
  };
  CHECK(test::relative_distance(answer(options), answer(kThreeFrames)) < 0.1);
}

TEST_CASE("Sizes of the published LLaVA-OneVision", "[onevision]") {
  const test::TempDirectory dir;
  test::write_file(
      dir.path() / "config.json",
      R"({"model_type":"llava_onevision","architectures":["LlavaOnevisionForConditionalGeneration"],)"
      R"("image_token_index":151646,"video_token_index":151647,"tie_word_embeddings":true,)"
      R"("projector_hidden_act":"gelu","vision_aspect_ratio":"anyres_max_9",)"
      R"("vision_feature_layer":-1,"vision_feature_select_strategy":"full",)"
      R"("vision_config":{"model_type":"siglip_vision_model","hidden_size":1152,"image_size":384,)"
      R"("intermediate_size":4304,"num_attention_heads":16,"num_hidden_layers":26,)"
      R"("patch_size":14,"vision_use_head":false},)"
      R"("text_config":{"model_type":"qwen2","hidden_size":896,"intermediate_size":4864,)"
      R"("num_attention_heads":14,"num_hidden_layers":24,"num_key_value_heads":2,)"
      R"("rope_theta":1000000.0,"vocab_size":152000}})");
  const ModelConfig m = read_model_config(dir.path());
  CHECK(m.vision.patches() == 729);
  CHECK(m.vision.used_layers() == 26);
  CHECK(m.vision.width / m.vision.heads == 72);
  CHECK(m.pool.output == Grid{16, 14, 14});
  CHECK(m.video_rows() == 16 * 196 + 1);
  CHECK(m.image_token == 151646);
  CHECK(m.text.tied_embeddings);  // of the whole model
  CHECK(m.text.qkv_bias);
  const TensorTable table = model_tensors(m);
  REQUIRE(table.find("vision_tower.vision_model.head.probe") != nullptr);
  CHECK(table.find("vision_tower.vision_model.head.probe")->presence == Presence::unused);
  CHECK(table.find("vision_tower.vision_model.embeddings.class_embedding") == nullptr);
  CHECK(table.find("image_newline")->presence == Presence::required);
}

TEST_CASE("Names of transformers 4 and of a tower with its head load", "[onevision]") {
  const test::TempDirectory dir;
  for (const char* name :
       {"config.json", "generation_config.json", "processor_config.json", "tokenizer.json"})
    std::filesystem::copy_file(kDirectory / name, dir.path() / name);
  const auto write = [&](const std::string& left_out) {
    std::vector<NamedTensor> tensors;
    const Checkpoint checkpoint = Checkpoint::open(kDirectory);
    const RandomWeights random(1);
    for (const TensorSpec& spec : checkpoint.tensors())
      if (spec.name != left_out && spec.name.find("rotary_emb") == std::string::npos)
        tensors.push_back({spec.name, random.tensor(spec)});
    write_safetensors(dir.path() / "model.safetensors", tensors);
  };
  write("");
  const LoadReport report = Checkpoint::open(dir.path()).report();
  CHECK(report.clean());
  CHECK(report.ignored >= 11);  // the head
  write("image_newline");
  CHECK(test::contains(test::message_of<LoadError>([&] { Checkpoint::open(dir.path()); }),
                       "missing: image_newline"));
}

TEST_CASE("A configuration that is not LLaVA-OneVision's is refused by key", "[onevision]") {
  const auto error_for = [](const std::string& top, const std::string& vision,
                            const std::string& text) {
    const test::TempDirectory dir;
    test::write_file(dir.path() / "config.json",
                     R"({"model_type":"llava_onevision",)" + top +
                         R"("vision_config":{"model_type":"siglip_vision_model","image_size":384,)"
                         R"("patch_size":14,)" +
                         vision + R"("hidden_size":1152,"num_attention_heads":16},)" +
                         R"("text_config":{)" + text +
                         R"("hidden_size":896,)"
                         R"("num_attention_heads":14,"num_key_value_heads":2}})");
    return test::message_of<LoadError>([&] { read_model_config(dir.path()); });
  };
  const std::string qwen = R"("model_type":"qwen2",)";
  CHECK(error_for("", "", qwen).empty());
  struct Bad {
    std::string top, vision, text, key;
  };
  for (const Bad& bad : std::vector<Bad>{
           {R"("architectures":["LlavaForConditionalGeneration"],)", "", qwen, "architectures"},
           {R"("vision_feature_select_strategy":"default",)", "", qwen, "select_strategy"},
           {R"("vision_feature_layer":[-1,-3],)", "", qwen, "vision_feature_layer"},
           {R"("vision_feature_layer":28,)", "", qwen, "vision_feature_layer"},
           {R"("multimodal_projector_bias":false,)", "", qwen, "multimodal_projector_bias"},
           {R"("projector_hidden_act":"relu",)", "", qwen, "projector_hidden_act"},
           {"", R"("num_channels":1,)", qwen, "num_channels"},
           {"", R"("hidden_act":"relu",)", qwen, "hidden_act"},
           {"", "", R"("model_type":"llama",)", "text_config.model_type"},
           {"", "", "", "text_config.model_type"}}) {
    INFO(bad.top << bad.vision << bad.text);
    CHECK(test::contains(error_for(bad.top, bad.vision, bad.text), bad.key));
  }
}

}  // namespace
