// The components against PyTorch and transformers, on tiny random checkpoints in every published
// layout (tests/data/make_model_goldens.py).
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "pllava/pllava.hpp"
#include "pllava/reference/backend.hpp"
#include "support/catch.hpp"
#include "support/goldens.hpp"
#include "support/isas.hpp"
#include "support/subjects.hpp"

namespace {

using namespace pllava;

struct Case {
  std::string directory, golden;
  LoadOptions options;
};

std::filesystem::path data(const std::string& name) {
  return std::filesystem::path(PLLAVA_TEST_DATA) / "model" / name;
}

std::vector<Case> cases() {
  LoadOptions alpha32, on_base, three_frames, picture;
  alpha32.lora_alpha = 32;
  on_base.base = data("adapter_base");
  three_frames.frames = 3;  // its config.json does not say
  picture.frames = 1;
  picture.pool = Grid{1, 5, 5};  // the grid of the patches: no pooling
  return {{"plain_f32", "golden", {}},           {"odd_heads", "golden", {}},
          {"newer_names", "golden", {}},         {"next_video", "golden", {}},
          {"onevision", "golden", three_frames}, {"picture", "golden", picture},
          {"peft_sharded", "golden_alpha4", {}}, {"peft_sharded", "golden_alpha32", alpha32},
          {"adapter", "golden_alpha4", on_base}};
}

struct Distances {
  double features, projected, video, logits;
  std::vector<std::int32_t> greedy;
};

/// The rows of an encoded video, with those that end it.
template <Backend B, class Project>
Tensor<B> with_end_rows(B& be, const Project& project, Tensor<B> video) {
  if constexpr (requires { project.end_rows(); }) {
    const Index rows = video.view().rows(), end = project.end_rows();
    Tensor<B> all(be, {rows + end, video.view().cols()}, DType::f32);
    ops::copy(be, all.view().slice(0, rows), video.view());
    project.write_end_rows(be, all.view().slice(rows, end));
    return all;
  } else {
    return video;
  }
}

/// Runs the golden's pixels and prompt through the components.
template <Backend B, class Parts>
Distances run(B& be, const ModelConfig& config, const SafetensorsFile& golden, const Parts& parts) {
  const auto& [vision, project, pool, language] = parts;
  const std::vector<float> values = test::golden_floats(golden, "pixel_values");
  const Index T = config.frames, S = config.vision.image_size, side = config.vision.grid_side();
  Tensor<B> pixels(be, {T, 3, S, S}, DType::f32);
  be.upload(pixels, values.data());
  Tensor<B> features = vision(be, pixels);
  Tensor<B> projected = project(be, features);
  Tensor<B> video = with_end_rows(be, project, project(be, features, pool, Grid{T, side, side}));
  CHECK(video.view().rows() == config.video_rows());
  Distances d{};
  d.features = test::relative_distance(detail::to_floats(be, features),
                                       test::golden_floats(golden, "vision_features"));
  d.projected = test::relative_distance(detail::to_floats(be, projected),
                                        test::golden_floats(golden, "projected"));
  d.video = test::relative_distance(detail::to_floats(be, video),
                                    test::golden_floats(golden, "video_embeddings"));

  KvCache<B> kv = language.make_cache(be, config.text.context);
  Tensor<B> logits(be, {1, config.text.vocab}, DType::f32);
  const std::vector<std::int32_t> prompt = test::golden_ids(golden, "prompt_ids");
  const auto place = std::ranges::find(prompt, static_cast<std::int32_t>(config.image_token));
  Tensor<B> before = language.embed(be, std::span(prompt.begin(), place));
  Tensor<B> after = language.embed(be, std::span(place + 1, prompt.end()));
  language.forward(be, before, kv, View{});
  language.forward(be, video, kv, View{});
  language.forward(be, after, kv, logits);
  std::vector<float> scores = detail::to_floats(be, logits);
  d.logits = test::relative_distance(scores, test::golden_floats(golden, "logits"));
  for (int step = 0; step < 64; ++step) {
    const auto best = std::ranges::max_element(scores) - scores.begin();
    d.greedy.push_back(static_cast<std::int32_t>(best));
    Tensor<B> x = language.embed(be, {&d.greedy.back(), 1});
    language.forward(be, x, kv, logits);
    scores = detail::to_floats(be, logits);
  }
  return d;
}

template <Backend B>
Distances run(B be, const Case& c) {
  const Checkpoint checkpoint = Checkpoint::open(data(c.directory), c.options);
  const SafetensorsFile golden =
      SafetensorsFile::open(data(c.directory) / (c.golden + ".safetensors"));
  const ModelConfig& config = checkpoint.config();
  return BuiltinArchitectures::build(be, config, checkpoint[""], [&](const auto& parts) {
    return run(be, config, golden, parts);
  });
}

TEST_CASE("The f32 components equal transformers within 1e-4 and pick the same 64 tokens",
          "[model]") {
  for (const Case& c : cases())
    test::each_backend({DType::f32}, [&](const auto& s) {
      INFO(c.directory << " " << c.golden << " on " << s.name());
      const Distances d = run(s.backend(), c);
      CHECK(d.features < 1e-4);
      CHECK(d.projected < 1e-4);
      CHECK(d.video < 1e-4);
      CHECK(d.logits < 1e-4);
      CHECK(d.greedy ==
            test::golden_ids(SafetensorsFile::open(data(c.directory) / (c.golden + ".safetensors")),
                             "greedy_ids"));
    });
}

TEST_CASE("The reference backend equals transformers within 1e-5", "[model]") {
  const Distances d = run(reference::Backend(), cases()[6]);
  CHECK(d.features < 1e-5);
  CHECK(d.video < 1e-5);
  CHECK(d.logits < 1e-5);
}

TEST_CASE("The 16-bit components equal transformers within 2e-2", "[model]") {
  for (const Case& c : cases())
    test::each_backend({DType::bf16, DType::f16}, [&](const auto& s) {
      INFO(c.directory << " " << c.golden << " on " << s.name());
      const Distances d = run(s.backend(), c);
      CHECK(d.features < 2e-2);
      CHECK(d.projected < 2e-2);
      CHECK(d.video < 2e-2);
      CHECK(d.logits < 2e-2);
    });
}

TEST_CASE("Every instruction set of this machine gives the same answer", "[model]") {
  for (const cpu::Isa isa : test::supported_isas()) {
    const Distances d = run(cpu::Backend({.threads = 1, .isa = isa}), cases()[1]);
    CHECK(d.logits < 1e-4);
  }
}

}  // namespace
