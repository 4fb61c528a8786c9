// A picture as a video of one frame, without pooling: LLaVA-1.5 as transformers runs it, in a
// directory that its model and processor saved (tests/data/make_picture_golden.py).
#include <filesystem>
#include <vector>

#include "pllava/pllava.hpp"
#include "support/catch.hpp"
#include "support/golden_model.hpp"
#include "support/goldens.hpp"
#include "support/subjects.hpp"

namespace {

using namespace pllava;

TEST_CASE("A picture through LLaVA-1.5 equals transformers with its own processor", "[model]") {
  const auto directory = std::filesystem::path(PLLAVA_TEST_DATA) / "model" / "picture";
  const LoadOptions options{.frames = 1, .pool = Grid{1, 5, 5}};  // the grid of the patches
  const SafetensorsFile golden = SafetensorsFile::open(directory / "golden.safetensors");
  const Clip clip = test::golden_clip(golden);
  const PreprocessConfig preprocess = PreprocessConfig::from_directory(directory);
  CHECK(preprocess.fit == FrameFit::crop);
  CHECK(pllava::preprocess(clip, preprocess) == test::golden_floats(golden, "pixel_values"));
  test::each_backend({DType::f32, DType::bf16}, [&](const auto& s) {
    INFO(s.name());
    const auto model = test::load_model(s.backend(), directory, options);
    Trace trace;
    const EncodedVideo video =
        model->make_encoder()->encode_clip(clip.frames, preprocess, {}, &trace);
    CHECK(video.tokens() == 25);
    const double tolerance = s.dtype == DType::f32 ? 1e-4 : 2e-2;
    CHECK(test::relative_distance(trace.video_embeddings,
                                  test::golden_floats(golden, "video_embeddings")) < tolerance);
    CHECK(test::relative_distance(test::prompt_logits(*model, golden, video),
                                  test::golden_floats(golden, "logits")) < tolerance);
  });
  const Pipeline pipeline = Pipeline::load(directory, options, {.threads = 2});
  CHECK(pipeline.watch(clip).ask("What?", {.max_new_tokens = 3}).output_ids.size() <= 3);
}

}  // namespace
