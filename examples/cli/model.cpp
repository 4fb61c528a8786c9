#include "model.hpp"

#include <filesystem>
#include <utility>

#include "device.hpp"
#include "pllava/core/stopwatch.hpp"
#include "pllava/models/tensor_table.hpp"
#ifdef PLLAVA_HAS_SENTENCEPIECE
#include "pllava/text/tokenizer_sentencepiece.hpp"
#endif

namespace cli {
namespace {

namespace fs = std::filesystem;

pllava::Pipeline from_checkpoint(const Context& context) {
  const Options& o = context.options;
  if (!fs::is_directory(o.model))
    throw pllava::LoadError("no such directory",
                            {.file = o.model, .tensor = {}, .expected = {}, .got = {}});
  // Small files first: what is wrong with them should not cost the reading of the weights.
  pllava::Tokenizer tokenizer = read_tokenizer(o.model);
  const auto pixels = pllava::PreprocessConfig::from_directory(o.model);
  const auto checkpoint = pllava::Checkpoint::open(o.model, load_options(o));
  const pllava::ModelConfig& config = checkpoint.config();
  const pllava::DType dtype = o.dtype.value_or(checkpoint.report().dtype());
  const auto packed = pllava::packed_weights(checkpoint, load_options(o), dtype);
  const auto load = [&](auto backend) {
    return pllava::Pipeline(
        std::move(backend), config,
        pllava::with_progress(checkpoint[""], pllava::required_tensors(config), context.control()),
        std::move(tokenizer), pixels);
  };
  pllava::Pipeline pipeline = on_device(o, dtype, load, packed);
  if (packed != nullptr) packed->commit();
  return pipeline;
}

pllava::Pipeline from_random_weights(const Context& context) {
  const Options& o = context.options;
  pllava::ModelConfig config = pllava::ModelConfig::preset(o.random_weights);
  config.frames = o.frames.value_or(config.frames);
  config.pool.output = o.pool.value_or(config.pool.output);
  const pllava::DType dtype = o.dtype.value_or(pllava::DType::f32);
  pllava::PreprocessConfig pixels;
  pixels.image_size = config.vision.image_size;
  return on_device(o, dtype, [&](auto backend) {
    const pllava::WeightScope weights = pllava::quantized(
        pllava::RandomWeights::scope(o.generate.sampling.seed, dtype), quantize_options(o));
    return pllava::Pipeline(
        std::move(backend), config,
        pllava::with_progress(weights, pllava::required_tensors(config), context.control()),
        pllava::Tokenizer::bytes(config.image_token), pixels);
  });
}

}  // namespace

pllava::Tokenizer read_tokenizer(const fs::path& directory) {
#ifdef PLLAVA_HAS_SENTENCEPIECE
  const fs::path model = directory / "tokenizer.model";
  if (!fs::exists(directory / "tokenizer.json") && fs::exists(model))
    return pllava::tokenizer_from_sentencepiece(model);
#endif
  return pllava::Tokenizer::from_directory(directory);
}

pllava::QuantizeOptions quantize_options(const Options& o) {
  pllava::QuantizeOptions q = pllava::QuantizeOptions::of(o.weights);
  q.vision = {o.vision_weights.value_or(q.vision.format), o.group, o.zero_points};
  q.language = {o.lm_weights.value_or(q.language.format), o.group, o.zero_points};
  return q;
}

pllava::LoadOptions load_options(const Options& o) {
  pllava::LoadOptions load;
  load.lora_alpha = o.lora_alpha;
  load.strict = !o.lenient;
  load.base = o.base;
  load.frames = o.frames;
  load.pool = o.pool;
  load.quantize = quantize_options(o);
  load.cache = o.cache;
  return load;
}

LoadedModel load_model(const Context& context) {
  pllava::Stopwatch watch;
  pllava::Pipeline pipeline = context.options.random_weights.empty() ? from_checkpoint(context)
                                                                     : from_random_weights(context);
  return {std::move(pipeline), watch.lap()};
}

}  // namespace cli
