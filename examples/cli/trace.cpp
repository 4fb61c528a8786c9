// trace: writes the intermediate tensors of one run to a safetensors file.
#include <cstdint>
#include <vector>

#include "answer.hpp"
#include "clip.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "pllava/io/detail/output_file.hpp"
#include "pllava/media/preprocess.hpp"
#include "pllava/weights/safetensors.hpp"
#include "watched.hpp"

namespace cli {
namespace {

/// A tensor that borrows `values`.
template <class T>
pllava::NamedTensor tensor(const char* name, const std::vector<T>& values, pllava::DType dtype,
                           const pllava::Shape& shape) {
  return {name, {dtype, shape, reinterpret_cast<const std::byte*>(values.data()), nullptr}};
}

}  // namespace

int trace(const Context& context) {
  const Options& o = context.options;
  { const pllava::detail::OutputFile attempt(o.out); }  // fails before any work
  const LoadedModel model = load_model(context);
  const pllava::Pipeline& pipeline = model.pipeline;
  const pllava::ModelConfig& config = pipeline.config();
  const pllava::PreprocessConfig& preprocessing = pipeline.preprocess_config();
  const pllava::Clip clip = sample_clip(context, o.videos.at(0), pipeline.frames(), preprocessing);
  const std::vector<pllava::Frame> crops = pllava::crop_frames(clip.frames, preprocessing);

  const auto T = static_cast<Index>(crops.size());
  const Index S = preprocessing.image_size;
  std::vector<std::int32_t> indices;
  std::vector<std::uint8_t> frames;  // (T, S, S, 3)
  for (std::size_t t = 0; t < crops.size(); ++t) {
    indices.push_back(static_cast<std::int32_t>(clip.frames[t].index));
    frames.insert(frames.end(), crops[t].data, crops[t].data + 3 * S * S);
  }

  pllava::WatchOptions watching = watch_options(context);
  watching.trace = true;
  pllava::Session session = pipeline.watch(clip, watching);
  pllava::GenerateOptions first_token = o.generate;
  first_token.max_new_tokens = 1;
  first_token.first_logits = true;
  first_token.control = watching.control;
  const pllava::Answer answer = session.ask(default_question(o), first_token);

  using enum pllava::DType;
  const pllava::Trace& steps = session.report().trace;
  const std::vector<float>& logits = answer.first_logits;
  const std::vector<pllava::NamedTensor> tensors = {
      tensor("frame_indices", indices, i32, {T}),
      tensor("frames", frames, u8, {T, S, S, 3}),
      tensor("pixel_values", steps.pixel_values, f32, {T, 3, S, S}),
      tensor("vision_features", steps.vision_features, f32,
             {T, config.vision.patches(), config.vision.width}),
      tensor("video_embeddings", steps.video_embeddings, f32,
             {config.pool.output.count(), config.text.width}),
      tensor("prompt_ids", answer.prompt_ids, i32, {static_cast<Index>(answer.prompt_ids.size())}),
      tensor("logits", logits, f32, {static_cast<Index>(logits.size())})};
  pllava::write_safetensors(o.out, tensors);
  context.status.clear();
  if (!o.quiet) write_output(o.out + '\n');
  return kSuccess;
}

}  // namespace cli
